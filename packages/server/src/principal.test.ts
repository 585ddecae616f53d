import { scopes, Vm0Error, type Scope } from '@vm0/contract'
import { expect, test } from 'vitest'
import { allows, requireScope, requireSight, scopeOf, type Principal } from './principal.js'

const who = (given: Scope[], token: Principal['token'] = null): Principal => ({
  keyId: 'k',
  accountId: 'k',
  projectId: 'p',
  scopes: new Set(given),
  expiresAtMs: null,
  token,
})

test.each<[Scope, Scope[]]>([
  ['read', ['read']],
  ['write', ['read', 'write']],
  ['admin', ['admin']],
  ['installation', ['admin', 'installation']],
])('a key with the scope %s may do %j and nothing else', (given, may) => {
  expect(scopes.filter((scope) => allows(new Set([given]), scope))).toEqual(may)
})

test('what is missing is named', () => {
  expect(() => requireScope(who(['read']), 'write')).toThrow(
    new Vm0Error('FORBIDDEN', 'this needs a key with the scope "write"; the key has read'),
  )
  expect(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH'].map(scopeOf)).toEqual([
    'read',
    'read',
    'write',
    'write',
    'write',
    'write',
  ])
})

const all = { sessionId: null, runId: null }
test.each<[string, Principal['token'], { sessionId: string; runId?: string }, boolean]>([
  ['a key sees all', null, { sessionId: 's' }, true],
  ["a project's token sees every run", all, { sessionId: 's', runId: 'r' }, true],
  ["a session's token sees it", { ...all, sessionId: 's' }, { sessionId: 's' }, true],
  ["a session's token sees its runs", { ...all, sessionId: 's' }, { sessionId: 's', runId: 'r' }, true],
  ["a session's token sees no other", { ...all, sessionId: 's' }, { sessionId: 't', runId: 'r' }, false],
  ["a run's token sees it", { ...all, runId: 'r' }, { sessionId: 's', runId: 'r' }, true],
  ["a run's token sees no other run", { ...all, runId: 'r' }, { sessionId: 's', runId: 'q' }, false],
  ["a run's token does not see the session", { ...all, runId: 'r' }, { sessionId: 's' }, false],
])('%s', (_name, token, what, seen) => {
  const look = () => requireSight(who(['read'], token), what)
  if (seen) expect(look).not.toThrow()
  else expect(look).toThrow(/is not what this token is for/)
})
