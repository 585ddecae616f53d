import type { Scope } from '@vm0/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([workScript])
})
afterAll(() => platform.stop())

const status = async (key: string, method: string, path: string, body?: object): Promise<number> =>
  (await platform.fetch(path, { method, key, ...(body ? { body: JSON.stringify(body) } : {}) })).status

const calls: [string, string, string, object | undefined, Scope][] = [
  ['look at runs', 'GET', '/v1/runs', undefined, 'read'],
  ['look at frameworks', 'HEAD', '/v1/frameworks', undefined, 'read'],
  ['make a token', 'POST', '/v1/tokens', {}, 'read'],
  ['make a session', 'POST', '/v1/sessions', {}, 'write'],
  ['look at keys', 'GET', '/v1/keys', undefined, 'admin'],
  ['make a key', 'POST', '/v1/keys', { name: 'made' }, 'admin'],
  ['look at projects', 'GET', '/v1/projects', undefined, 'installation'],
  ['make a project', 'POST', '/v1/projects', { id: 'made' }, 'installation'],
]
test.each<[Scope, Scope[]]>([
  ['read', ['read']],
  ['write', ['read', 'write']],
  ['admin', ['admin']],
  ['installation', ['admin', 'installation']],
])('a key with the scope %s may make the calls of %j', async (scope, may) => {
  const { key = '' } = await platform.client.keys.create(scope, { scopes: [scope] })
  for (const [name, method, path, body, needed] of calls) {
    const allowed = may.includes(needed)
    expect([name, (await status(key, method, path, body)) < 300]).toEqual([name, allowed])
    if (!allowed && method !== 'HEAD')
      expect(
        await (await platform.fetch(path, { method, key, ...(body ? { body: JSON.stringify(body) } : {}) })).json(),
      ).toMatchObject({ code: 'FORBIDDEN', detail: expect.stringContaining(`scope "${needed}"`) })
  }
})

test('the scope of the installation is given only by who has it, and a key is shown once', async () => {
  const { key = '' } = await platform.client.keys.create('admin', { scopes: ['admin'] })
  expect(await status(key, 'POST', '/v1/keys', { name: 'more', scopes: ['installation'] })).toBe(403)
  expect(await status(key, 'POST', '/v1/keys', { name: 'more', scopes: ['write'] })).toBe(201)
  expect(JSON.stringify(await platform.client.keys.list())).not.toContain(key)
  expect(await platform.client.keys.list()).toContainEqual(
    expect.objectContaining({ name: 'admin', scopes: ['admin'] }),
  )
})

test('a key ends by itself, at once for what it is used for next', async () => {
  const { key = '', expiresAt } = await platform.client.keys.create('short', { expiresInMs: 2_000 })
  expect(Date.parse(expiresAt as string)).toBeGreaterThan(Date.now())
  expect(await status(key, 'GET', '/v1/runs')).toBe(200)
  await expect.poll(() => status(key, 'GET', '/v1/runs'), { timeout: 10_000 }).toBe(401)
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt as string))
})

test("a browser's token reads its run and nothing else, from any origin, and ends with its key, streams included", async () => {
  const maker = await platform.client.keys.create('maker', { expiresInMs: 600_000 })
  const run = platform.client.run({ prompt: 'hang' })
  const other = platform.client.run({ prompt: 'answer me' })
  for await (const event of run) if (event.type === 'model.request') break
  await other
  const made = await platform.fetch('/v1/tokens', {
    method: 'POST',
    key: maker.key as string,
    body: JSON.stringify({ runId: run.id, expiresInMs: 3_600_000 }),
  })
  const { token, expiresAt } = (await made.json()) as { token: string; expiresAt: string }
  expect(Date.parse(expiresAt)).toBeLessThanOrEqual(Date.parse(maker.expiresAt as string))
  for (const [path, expected] of [
    [`/v1/runs/${run.id}`, 200],
    [`/v1/runs/${other.id}`, 404],
    [`/v1/runs/${other.id}/events`, 404],
    [`/v1/sessions/${run.session.id}`, 404],
    ['/v1/runs', 403],
    ['/v1/frameworks', 403],
  ] as const)
    expect([path, await status(token, 'GET', path)]).toEqual([path, expected])
  expect(await status(token, 'POST', `/v1/runs/${run.id}/cancel`)).toBe(403)
  expect(await status(token, 'POST', '/v1/tokens', {})).toBe(403)

  const url = `/v1/runs/${run.id}/events?token=`
  expect((await platform.fetch(`${url}${maker.key}`, { key: '' })).status).toBe(401) // a key has no place in an address
  const response = await platform.fetch(url + token, { key: '' })
  expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([200, '*'])
  const stream = response.text()
  await platform.client.keys.revoke(maker.id)
  expect(await stream).not.toContain('run.finished')
  expect(await status(token, 'GET', `/v1/runs/${run.id}`)).toBe(401)
  expect(await status(maker.key as string, 'GET', '/v1/runs')).toBe(401)
  await run.cancel()
})

test('a stream ends with the token that it was opened with', async () => {
  const run = platform.client.run({ prompt: 'hang' })
  await run.get()
  const { token, expiresAt } = await platform.client.tokens.create({ runId: run.id, expiresInMs: 2_000 })
  const response = await platform.fetch(`/v1/runs/${run.id}/events?token=${token}`, { key: '' })
  expect(response.status).toBe(200)
  expect(await response.text()).not.toContain('run.finished')
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt))
  expect(await status(token, 'GET', `/v1/runs/${run.id}`)).toBe(401)
  await run.cancel()
})

test("a session's token reads the session and its runs; one token is of a session or of a run", async () => {
  const run = platform.client.run({ prompt: 'answer me' })
  await run
  const { token } = await platform.client.tokens.create({ sessionId: run.session.id })
  expect(await status(token, 'GET', `/v1/sessions/${run.session.id}`)).toBe(200)
  expect(await (await platform.fetch(`/v1/runs/${run.id}/events`, { key: token })).text()).toContain('run.finished')
  await expect(platform.client.tokens.create({ sessionId: run.session.id, runId: run.id })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  })
  await expect(platform.client.tokens.create({ expiresInMs: 3_600_001 })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  })
})

test('the command makes keys with scopes and an end', async () => {
  const made = await platform.cli('keys', 'create', 'dashboard', '--scope', 'read', '--expires', '7d', '--json')
  const key = JSON.parse(made.stdout) as { id: string; scopes: string[]; createdAt: string; expiresAt: string }
  expect(key.scopes).toEqual(['read'])
  expect(Date.parse(key.expiresAt) - Date.parse(key.createdAt)).toBe(7 * 86_400_000)
  expect((await platform.cli('keys', 'ls')).stdout).toMatch(new RegExp(`^${key.id} +dashboard +read +`, 'm'))
  expect((await platform.cli('keys', 'create', 'x', '--expires', 'tomorrow')).status).toBe(2)
  await platform.cli('keys', 'revoke', key.id)
  expect((await platform.cli('keys', 'ls')).stdout).toMatch(new RegExp(`${key.id} .* revoked `))
})
