import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { craftArchive } from '../packages/checkpoints/src/archive/crafted-archive.test.fixture.js'
import type { Vm0 } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

let platform: TestPlatform
let mine: { key: string; client: Vm0 }
let theirs: { key: string; client: Vm0 }
/** Ids of the other project, by the noun that stands before them in a path. */
const ids: Record<string, string> = {}

beforeAll(async () => {
  platform = await TestPlatform.start([workScript])
  mine = await platform.project('mine')
  theirs = await platform.project('theirs')
  const run = theirs.client.run({ prompt: 'answer me' })
  const { checkpoint } = await run
  ids.checkpoints = checkpoint!
  ids.sessions = run.session.id
  ids.runs = run.id
  ids.keys = (await theirs.client.keys.list())[0]!.id
  const layer = [
    { name: 'usr/bin/', type: 'directory' as const },
    { name: 'usr/bin/sh', data: '', mode: 0o755 },
  ]
  await theirs.client.templates.fromImage('their-template', await craftArchive({ about: null, layer }))
  ids.templates = 'their-template'
  ids.webhooks = (await theirs.client.webhooks.create('https://hooks.example/vm0')).id
})
afterAll(() => platform.stop())

interface Schema {
  type?: string
  format?: string
  pattern?: string
  const?: unknown
  enum?: unknown[]
  required?: string[]
  properties?: Record<string, Schema>
  items?: Schema
  anyOf?: Schema[]
}
interface Call {
  requestBody?: { content: Record<string, { schema: Schema }> }
}
type Document = { paths: Record<string, Record<string, Call>> }

/** The smallest value that a schema takes. */
function example(schema: Schema): unknown {
  if (schema.const !== undefined) return schema.const
  if (schema.enum) return schema.enum[0]
  if (schema.anyOf) return example(schema.anyOf[0]!)
  if (schema.type === 'object')
    return Object.fromEntries((schema.required ?? []).map((name) => [name, example(schema.properties![name]!)]))
  if (schema.type === 'array') return schema.items ? [example(schema.items)] : []
  if (schema.type === 'number' || schema.type === 'integer') return 1
  if (schema.pattern?.includes('sha256')) return ids.checkpoints
  return schema.type === 'boolean' ? false : 'x'
}

/** The path with the other project's id in it; undefined where a path names nothing of a project. */
function withTheirs(path: string): string | undefined {
  if (!path.includes('{')) return undefined
  const [, , noun] = path.split('/')
  return path.replaceAll(/\{(.*?)\}/g, (_, name: string) => {
    if (name === '*') return 'workspace'
    if (name === 'version') return '1'
    return ['id', 'name', 'other'].includes(name) && ids[noun!]
      ? ids[noun!]!
      : expect.fail(`${path}: which id of the other project is {${name}}?`)
  })
}

test("no call of the API gives anything of another project away: its ids don't exist there", async () => {
  const { paths } = (await (await platform.fetch('/v1/openapi.json')).json()) as Document
  // What is uploaded is named by its content, the same in every project; the next test is about it.
  // Who may not change projects is told so, whether or not there is one of that name; a template of one's own may have any name.
  const { '/v1/uploads/{digest}': _upload, '/v1/projects/{id}': _project, ...named } = paths
  const answers: [string, number][] = []
  for (const [path, calls] of Object.entries(named)) {
    const url = withTheirs(path)
    if (!url) continue
    for (const [method, call] of Object.entries(calls)) {
      if (method === 'post' && /^\/v1\/templates\/\{name\}\/(versions|image)$/.test(path)) continue
      const [type, content] = Object.entries(call.requestBody?.content ?? {})[0] ?? []
      const body = content ? JSON.stringify(example(content.schema)) : method === 'put' ? 'x' : undefined
      const response = await platform.fetch(url, {
        method: method.toUpperCase(),
        key: mine.key,
        ...(body ? { body, headers: { 'content-type': type ?? 'application/octet-stream' } } : {}),
      })
      answers.push([`${method} ${path}`, response.status])
    }
  }
  expect(answers.length).toBeGreaterThan(10)
  expect(answers).toEqual(answers.map(([call]) => [call, 404]))
})

test('lists, and ids in bodies and queries, show nothing of another project either', async () => {
  const { paths } = (await (await platform.fetch('/v1/openapi.json')).json()) as Document
  const lists = Object.entries(paths).filter(([path, calls]) => calls.get && !path.includes('{'))
  expect(lists.map(([path]) => path)).toEqual(expect.arrayContaining(['/v1/runs', '/v1/sessions', '/v1/keys']))
  for (const [path] of lists) {
    const text = await (await platform.fetch(path, { key: mine.key })).text()
    for (const id of [...Object.values(ids), 'theirs']) expect([path, text.includes(id)]).toEqual([path, false])
  }
  const before = await theirs.client.runs.list()
  for (const [path, body] of [
    ['/v1/runs', { prompt: 'answer me', sessionId: ids.sessions }],
    ['/v1/tokens', { sessionId: ids.sessions }],
    ['/v1/tokens', { runId: ids.runs }],
    ['/v1/keys', { name: 'x', projectId: 'theirs' }],
    ['/v1/keys', { name: 'x', projectId: 'no-such-project' }],
    [`/v1/runs?sessionId=${ids.sessions}`, undefined],
    [`/v1/runs?before=${ids.runs}`, undefined],
    [`/v1/sessions?before=${ids.sessions}`, undefined],
    [`/v1/keys?before=${ids.keys}`, undefined],
  ] as const) {
    const response = await platform.fetch(path, {
      key: mine.key,
      ...(body ? { method: 'POST', body: JSON.stringify(body) } : {}),
    })
    expect([path, response.status]).toEqual([path, 404])
  }
  expect(await theirs.client.runs.list()).toEqual(before)
})

test('what one project uploaded is not there for another that knows its digest', async () => {
  const content = Buffer.alloc(1024)
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
  const put = await platform.fetch(`/v1/uploads/${digest}`, {
    method: 'PUT',
    key: theirs.key,
    body: content,
    headers: { 'content-type': 'application/octet-stream' },
  })
  expect(put.status).toBe(204)
  await expect(
    platform
      .fetch('/v1/sessions', { method: 'POST', key: mine.key, body: JSON.stringify({ workspaceUpload: digest }) })
      .then((response) => response.json()),
  ).resolves.toMatchObject({ code: 'WORKSPACE_INVALID' })
})

test('the same ids in two projects are two sessions and two runs that know nothing of each other', async () => {
  const sessionId = '019bbbbb-0000-7000-8000-000000000001'
  const id = '019bbbbb-0000-7000-8000-000000000002'
  const send = (key: string, path: string, body: object) =>
    platform.fetch(path, { method: 'POST', key, body: JSON.stringify(body) }).then((response) => response.json())
  for (const [{ key }, name] of [
    [mine, 'mine'],
    [theirs, 'theirs'],
  ] as const)
    await send(key, '/v1/runs', { id, sessionId, newSession: true, prompt: 'hang', labels: { of: name } })
  for (const { client } of [mine, theirs])
    for await (const event of client.runs.get(id)) if (event.type === 'model.request') break
  await send(mine.key, `/v1/runs/${id}/cancel`, {})
  expect(await mine.client.runs.get(id).result()).toMatchObject({ outcome: 'cancelled' })
  expect(await theirs.client.runs.get(id).get()).toMatchObject({ state: 'running', labels: { of: 'theirs' } })
  await theirs.client.runs.get(id).cancel()
  expect(await theirs.client.runs.get(id).result()).toMatchObject({ outcome: 'cancelled' })
  const [one, two] = [mine, theirs].map(({ client }) => client.sessions.get(sessionId))
  await one!.files.write('/workspace/of.txt', 'mine')
  await two!.files.write('/workspace/of.txt', 'theirs')
  await Promise.all([one!.close(), two!.close()])
  expect([await one!.files.readText('/workspace/of.txt'), await two!.files.readText('/workspace/of.txt')]).toEqual([
    'mine',
    'theirs',
  ])
})
