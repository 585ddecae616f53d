import { createServer } from 'node:net'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([{ name: 'empty', conversations: [] }])
})
afterAll(() => platform.stop())

const id = '019aaaaa-0000-7000-8000-000000000001'

test.each<[string, unknown, number, string]>([
  ['unknown framework', { prompt: 'x', framework: 'nope' }, 400, 'UNKNOWN_FRAMEWORK'],
  ['unknown template', { prompt: 'x', template: 'nope' }, 404, 'UNKNOWN_TEMPLATE'],
  ['empty prompt', { prompt: '  ' }, 400, 'PROMPT_EMPTY'],
  ['prompt with NUL', { prompt: 'a\0b' }, 400, 'INVALID_REQUEST'],
  ['prompt over the limit', { prompt: 'x'.repeat(1_100_000) }, 413, 'REQUEST_TOO_LARGE'],
  ['10 MB prompt', { prompt: 'x'.repeat(10_000_000) }, 413, 'REQUEST_TOO_LARGE'],
  ['unknown field', { prompt: 'x', promt: 'y' }, 400, 'INVALID_REQUEST'],
  ['malformed JSON', '{"prompt":', 400, 'INVALID_REQUEST'],
  ['session that does not exist', { prompt: 'x', sessionId: id }, 404, 'NOT_FOUND'],
  [
    'upload that does not exist',
    { prompt: 'x', workspaceUpload: `sha256:${'0'.repeat(64)}` },
    400,
    'WORKSPACE_INVALID',
  ],
])('%s', async (_name, body, status, code) => {
  const response = await platform.fetch('/v1/runs', {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const problem = (await response.json()) as Record<string, unknown>
  expect(response.headers.get('content-type')).toContain('application/problem+json')
  expect([response.status, problem.code]).toEqual([status, code])
  expect(String(problem.hint).length).toBeGreaterThan(10)
})

test('a missing, wrong or revoked key is refused', async () => {
  const { key, id: keyId } = await platform.client.keys.create('second')
  expect((await platform.fetch('/v1/runs', { key: key as string })).status).toBe(200)
  await platform.client.keys.revoke(keyId)
  for (const wrong of ['', 'vm0_wrong', key as string])
    expect((await platform.fetch('/v1/runs', { key: wrong })).status).toBe(401)
})

test('the same id with another body is a conflict, with the same body the same run', async () => {
  const body = { id: '019aaaaa-0000-7000-8000-000000000002', prompt: 'hello' }
  const post = (content: object) => platform.fetch('/v1/runs', { method: 'POST', body: JSON.stringify(content) })
  const [first, second] = [await post(body), await post(body)]
  expect([first.status, second.status]).toEqual([201, 201])
  expect(((await first.json()) as { sessionId: string }).sessionId).toBe(
    ((await second.json()) as { sessionId: string }).sessionId,
  )
  expect((await post({ ...body, prompt: 'other' })).status).toBe(409)
})

test('a workspace with a socket or a link that escapes is refused before anything starts', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vm0-workspace-'))
  const server = createServer()
  try {
    await writeFile(join(folder, 'a.txt'), 'a')
    await symlink('../../etc/passwd', join(folder, 'escape'))
    await expect(platform.client.run({ prompt: 'x', workspace: folder })).rejects.toMatchObject({
      code: 'WORKSPACE_INVALID',
    })
    await rm(join(folder, 'escape'))
    await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve))
    await expect(platform.client.run({ prompt: 'x', workspace: folder })).rejects.toMatchObject({
      code: 'WORKSPACE_INVALID',
    })
  } finally {
    server.close()
    await rm(folder, { recursive: true, force: true })
  }
})

test('a workspace arrives without what .gitignore excludes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vm0-workspace-'))
  try {
    await writeFile(join(folder, '.gitignore'), '*.log\n')
    await writeFile(join(folder, 'kept.txt'), 'kept')
    await writeFile(join(folder, 'dropped.log'), 'dropped')
    const session = await platform.client.sessions.create({ workspace: folder })
    expect((await session.files.list()).map(({ name }) => name)).toEqual(['.gitignore', 'kept.txt'])
    expect(await session.files.readText('/workspace/kept.txt')).toBe('kept')
    await session.delete()
    await expect(session.get()).rejects.toMatchObject({ code: 'SESSION_DELETED' })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a server that is not there is told at once when no retries are wanted', async () => {
  await expect(createClient({ url: 'http://127.0.0.1:9', apiKey: 'x', retries: 0 }).runs.list()).rejects.toMatchObject({
    code: 'SERVER_UNREACHABLE',
  })
})

test('the data folder can be used by one platform at a time', async () => {
  const second = await platform.cli('up', '--port', '0', '--data', join(platform.directory, 'data'))
  expect(second.status).toBe(1)
  expect(second.stderr).toContain('DATA_IN_USE')
})

test('the API describes itself', async () => {
  const spec = (await (await platform.fetch('/v1/openapi.json', { key: '' })).json()) as {
    openapi: string
    paths: object
  }
  expect(spec.openapi).toMatch(/^3\.1/)
  expect(Object.keys(spec.paths)).toContain('/v1/runs/{id}/events')
})
