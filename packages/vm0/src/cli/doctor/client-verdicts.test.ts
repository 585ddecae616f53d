import { expect, test } from 'vitest'
import type { ClientFacts } from './client-facts.js'
import { checkClient } from './client-verdicts.js'

const good: ClientFacts = {
  nodeVersion: '20.19.0',
  platformInstalled: true,
  url: 'http://127.0.0.1:7300',
  urlFrom: 'config',
  configFile: '/home/me/.config/vm0/config.json',
  hasKey: true,
  health: 200,
  withKey: 200,
}
const unanswered = { health: 'connect ECONNREFUSED', withKey: undefined }

test('all is well', () => {
  expect(checkClient(good).map(({ status }) => status)).toEqual(['ok', 'ok', 'ok', 'ok'])
})

test.each<[string, Partial<ClientFacts>, string, string, RegExp]>([
  ['an old Node', { nodeVersion: '20.18.9' }, 'node', 'problem', /20\.19/],
  ['no platform', { platformInstalled: false }, 'platform', 'warning', /npm i @vm0\/platform/],
  ['a server that was not started yet', unanswered, 'server', 'warning', /vm0 up/],
  ['a server that was named', { ...unanswered, urlFrom: 'VM0_API_URL' }, 'server', 'problem', /VM0_API_URL/],
  ['no server and none to start', { ...unanswered, platformInstalled: false }, 'server', 'problem', /VM0_API_URL/],
  ['something else at the address', { health: 404, withKey: undefined }, 'server', 'warning', /vm0 up/],
  ['no key yet', { hasKey: false, withKey: undefined }, 'key', 'warning', /VM0_API_KEY/],
  ['no key for a named server', { hasKey: false, urlFrom: 'VM0_API_URL' }, 'key', 'problem', /VM0_API_KEY/],
  ['a key that is refused', { withKey: 401 }, 'key', 'problem', /VM0_API_KEY/],
])('%s', (_name, facts, name, status, fix) => {
  const checks = checkClient({ ...good, ...facts })
  expect(checks.find((check) => check.name === name)).toMatchObject({
    status,
    fix: expect.stringMatching(fix) as string,
  })
})

test('what is not ok says how to mend it', () => {
  const checks = checkClient({ ...good, ...unanswered, nodeVersion: '18.0.0', hasKey: false, platformInstalled: false })
  expect(checks.every(({ status, fix }) => status !== 'ok' && fix)).toBe(true)
})
