import { randomUUID } from 'node:crypto'
import { Validator } from '@seriousme/openapi-schema-validator'
import { compareCursors, type Vm0Event } from '@vm0/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([workScript])
})
afterAll(() => platform.stop())

const unknownId = '019aaaaa-0000-7000-8000-00000000ffff'
const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  platform.fetch(path, { method: 'POST', body: JSON.stringify(body), headers })
const json = async (response: Response | Promise<Response>) => (await (await response).json()) as Record<string, any>

test.each<[string, string, RequestInit & { key?: string }, number, string]>([
  ['a call that does not exist', '/v1/nope', {}, 404, 'NOT_FOUND'],
  ['a path outside of the API', '/', {}, 404, 'NOT_FOUND'],
  ['an address that can not be decoded', '/v1/runs/%zz', {}, 400, 'INVALID_REQUEST'],
  ['a method that a path does not have', '/v1/runs', { method: 'PATCH' }, 405, 'METHOD_NOT_ALLOWED'],
  ['an id that is none', '/v1/runs/nope', {}, 400, 'INVALID_REQUEST'],
  ['an id of nothing', `/v1/runs/${unknownId}`, {}, 404, 'NOT_FOUND'],
  ['a cursor that is none', `/v1/runs/${unknownId}/events?after=x`, {}, 400, 'INVALID_REQUEST'],
  ['text for JSON', '/v1/runs', typed('text/plain', 'hello'), 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['XML for JSON', '/v1/runs', typed('application/xml', '<run/>'), 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['JSON that is cut off', '/v1/runs', typed('application/json', '{"prompt":'), 400, 'INVALID_REQUEST'],
  ['JSON that is no object', '/v1/runs', typed('application/json', '[]'), 400, 'INVALID_REQUEST'],
  ['no body', '/v1/runs', { method: 'POST' }, 400, 'INVALID_REQUEST'],
  ['a page that is too long', '/v1/runs?limit=1000', {}, 400, 'INVALID_REQUEST'],
  ['a page after nothing', `/v1/runs?before=${unknownId}`, {}, 404, 'NOT_FOUND'],
  ['no key', '/v1/runs', { key: '' }, 401, 'UNAUTHENTICATED'],
])('%s is told as a problem document', async (_name, path, init, status, code) => {
  const response = await platform.fetch(path, init)
  const problem = await json(response)
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  expect(problem).toMatchObject({ status, code, title: code, type: `urn:vm0:error:${code}`, retryable: false })
  expect(response.status).toBe(status)
  expect(problem.requestId).toBe(response.headers.get('x-request-id'))
  expect(problem.hint).toMatch(/\w{3}/)
  if (status === 405) expect(response.headers.get('allow')).toBe('GET, HEAD, POST')
  if (status === 401) expect(response.headers.get('www-authenticate')).toBe('Bearer')
})

function typed(type: string, body: string): RequestInit {
  return { method: 'POST', body, headers: { 'content-type': type } }
}

test('the API describes itself in valid OpenAPI 3.1, with the problem document for every call', async () => {
  const document = await json(platform.fetch('/v1/openapi.json', { key: '' }))
  expect(document.openapi).toMatch(/^3\.1/)
  expect(await new Validator().validate(document)).toMatchObject({ valid: true })
  for (const calls of Object.values(document.paths as Record<string, Record<string, any>>))
    for (const call of Object.values(calls))
      expect(Object.keys(call.responses.default.content)).toEqual(['application/problem+json'])
  expect(Object.keys(document.paths['/v1/runs/{id}/events'].get.responses['200'].content)).toEqual([
    'text/event-stream',
    'application/x-ndjson',
  ])
})

test('Idempotency-Key makes a request that is sent again the same one', async () => {
  const key = { 'idempotency-key': 'order-4711' }
  const body = { labels: { of: 'order' } }
  const [first, second] = [await json(post('/v1/sessions', body, key)), await json(post('/v1/sessions', body, key))]
  expect(second.id).toBe(first.id)
  expect((await json(post('/v1/sessions', { labels: {} }, key))).code).toBe('CONFLICT')
  expect((await json(post('/v1/sessions', body, { 'idempotency-key': 'order-4712' }))).id).not.toBe(first.id)

  const id = randomUUID()
  const named = { 'idempotency-key': id.toUpperCase() }
  const run = await json(post('/v1/runs', { prompt: 'hang', sessionId: first.id }, named))
  expect(run).toMatchObject({ id, sessionId: first.id })
  expect((await json(post('/v1/runs', { prompt: 'hang', sessionId: first.id, id }))).id).toBe(id)
  expect((await json(post('/v1/runs', { prompt: 'x', id: randomUUID() }, named))).code).toBe('INVALID_REQUEST')
  expect((await json(post('/v1/runs', { prompt: 'x' }, { 'idempotency-key': ' ' }))).code).toBe('INVALID_REQUEST')
  expect((await json(post(`/v1/runs/${id.toUpperCase()}/cancel`, {}))).id).toBe(id)
})

test('events come as a stream and as lines, the same ones, and go on from any cursor', async () => {
  const { id } = await json(post('/v1/runs', { prompt: 'answer me' }))
  const path = `/v1/runs/${id}/events`
  const followed = parseStream(await (await platform.fetch(path)).text())
  expect(followed.map(({ event }) => event.type)).toEqual(
    expect.arrayContaining(['run.queued', 'sandbox.ready', 'message', 'agent.finished', 'checkpoint.committed']),
  )
  expect(followed.at(-1)?.event).toMatchObject({ type: 'run.finished', outcome: 'succeeded' })
  for (const { id: cursor, name, event } of followed)
    expect([cursor, name, event.runId]).toEqual([event.cursor, event.type, id])
  const events = followed.map(({ event }) => event)
  expect(events.every((event, n) => n === 0 || compareCursors(events[n - 1]!.cursor, event.cursor) < 0)).toBe(true)

  const ndjson = { accept: 'application/x-ndjson' }
  expect(parseLines(await (await platform.fetch(path, { headers: ndjson })).text())).toEqual(events)
  expect(parseLines(await (await platform.fetch(`${path}?follow=true`, { headers: ndjson })).text())).toEqual(events)
  for (const at of [0, 1, Math.floor(events.length / 2), events.length - 2]) {
    const after = events[at]!.cursor
    const resumed = parseStream(await (await platform.fetch(path, { headers: { 'last-event-id': after } })).text())
    expect(resumed.map(({ event }) => event)).toEqual(events.slice(at + 1))
    expect(parseLines(await (await platform.fetch(`${path}?after=${after}`, { headers: ndjson })).text())).toEqual(
      events.slice(at + 1),
    )
  }
  expect(await (await platform.fetch(path, { headers: { 'last-event-id': events.at(-1)!.cursor } })).text()).toBe('')
})

test('HEAD answers as GET does, without a body, also for events of a run that is at work', async () => {
  const { id, sessionId } = await json(post('/v1/runs', { prompt: 'hang' }))
  const paths = ['/healthz', '/v1/runs', `/v1/runs/${id}`, `/v1/runs/${id}/events`, `/v1/sessions/${sessionId}`]
  for (const path of paths) {
    const response = await platform.fetch(path, { method: 'HEAD' })
    expect([path, response.status, await response.text()]).toEqual([path, 200, ''])
  }
  expect((await platform.fetch(`/v1/runs/${unknownId}`, { method: 'HEAD' })).status).toBe(404)
  await post(`/v1/runs/${id}/cancel`, {})
})

test('lists come newest first by the order of the server, page by page, without gap or repeat', async () => {
  const { key } = await platform.project('paging')
  const as = { key, headers: { 'content-type': 'application/json' } }
  const send = async (path: string, body: object) =>
    json(platform.fetch(path, { method: 'POST', body: JSON.stringify(body), ...as }))
  const ids: Record<string, string[]> = { sessions: [], runs: [], keys: [] }
  for (let n = 0; n < 5; n++) {
    // Ids of version 4 say nothing about time.
    const session = await send('/v1/sessions', { id: randomUUID() })
    ids.sessions!.unshift(session.id)
    ids.keys!.unshift((await send('/v1/keys', { name: `key ${n}` })).id)
  }
  for (let n = 0; n < 5; n++)
    ids.runs!.unshift((await send('/v1/runs', { id: randomUUID(), prompt: 'hang', sessionId: ids.sessions![0] })).id)
  for (const [kind, expected] of Object.entries(ids)) {
    const seen: string[] = []
    for (let before = ''; ;) {
      const page = await json(platform.fetch(`/v1/${kind}?limit=2${before}`, { key }))
      expect(page.items.length).toBeLessThanOrEqual(2)
      seen.push(...page.items.map((item: { id: string }) => item.id))
      if (page.next === null) break
      before = `&before=${page.next}`
    }
    expect([kind, seen.slice(0, 5)]).toEqual([kind, expected])
    expect(new Set(seen).size).toBe(seen.length)
  }
  for (const id of ids.runs!) await send(`/v1/runs/${id}/cancel`, {})
})

test('a session that is deleted takes its runs, prompts and events with it, and may be deleted again', async () => {
  const run = await json(post('/v1/runs', { prompt: 'answer me' }))
  await (await platform.fetch(`/v1/runs/${run.id}/events`)).text()
  expect((await json(platform.fetch(`/v1/runs/${run.id}`))).text).toBe('forty-two')
  for (const _ of [1, 2])
    expect((await platform.fetch(`/v1/sessions/${run.sessionId}`, { method: 'DELETE' })).status).toBe(204)
  expect((await json(platform.fetch(`/v1/runs/${run.id}`))).text).toBe(null)
  for (const path of [`/v1/runs/${run.id}/events`, `/v1/sessions/${run.sessionId}`])
    expect((await json(platform.fetch(path))).code).toBe('SESSION_DELETED')
})

test('a platform that stops says so, takes nothing new, and still tells how its runs end', async () => {
  const { id } = await json(post('/v1/runs', { prompt: 'ignore the end' }))
  const following = (await platform.fetch(`/v1/runs/${id}/events`))
    .body!.pipeThrough(new TextDecoderStream())
    .getReader()
  let seen = ''
  const until = async (text: string) => {
    while (!seen.includes(text)) seen += (await following.read()).value ?? expect.fail(`the stream ended: ${seen}`)
  }
  await until('event: tool.started')
  expect((await platform.fetch('/readyz', { key: '' })).status).toBe(200)
  const ended = platform.signal('SIGTERM')
  await expect.poll(async () => (await platform.fetch('/readyz', { key: '' })).status, { timeout: 10_000 }).toBe(503)
  expect((await platform.fetch('/healthz', { key: '' })).status).toBe(200)
  expect((await platform.fetch(`/v1/runs/${id}`)).status).toBe(200)
  const refused = await post('/v1/runs', { prompt: 'answer' })
  expect([refused.status, refused.headers.get('retry-after'), (await json(refused)).code]).toEqual([
    503,
    '1',
    'NOT_READY',
  ])
  await until('event: run.finished')
  expect(seen).toContain('"outcome":"died","reason":"platform_stopped"')
  await ended
  await platform.up()
  expect(await json(platform.fetch(`/v1/runs/${id}`))).toMatchObject({ state: 'died', reason: 'platform_stopped' })
})

interface Told {
  id: string
  name: string
  event: Vm0Event
}

function parseStream(text: string): Told[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('id: '))
    .map((block) => {
      const [, id = '', name = '', data = ''] = /^id: (.*)\nevent: (.*)\ndata: (.*)$/.exec(block) ?? []
      return { id, name, event: JSON.parse(data) as Vm0Event }
    })
}

function parseLines(text: string): Vm0Event[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Vm0Event)
}
