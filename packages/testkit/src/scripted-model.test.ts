import { afterAll, beforeAll, expect, test } from 'vitest'
import { quickstartScript } from './shipped-scripts.js'
import { scriptSchema } from './script.js'
import { startScriptedModel, type ScriptedModel } from './scripted-model.js'

const fault = (kind: 'status' | 'error' | 'drop' | 'garbage' | 'hang', more: object = {}) => ({
  kind,
  times: 1,
  ...more,
})
const faults = {
  'too many': fault('status', { status: 429, retryAfterSeconds: 3 }),
  'breaks off': fault('error', { afterChunks: 4 }),
  'drops early': fault('drop'),
  'drops late': fault('drop', { afterChunks: 3 }),
  'garbage instead': fault('garbage'),
  'garbage late': fault('garbage', { afterChunks: 2 }),
}

let server: ScriptedModel
beforeAll(async () => {
  const answer = {
    thinking: 'Well then.',
    text: 'Here it comes.',
    tools: [{ name: 'Bash', input: { command: 'echo one two three four five six', description: 'says it' } }],
    usage: { input: 1, output: 2, cacheRead: 3, cacheWrite: 4 },
    headers: { 'x-scripted': 'yes' },
  }
  server = await startScriptedModel([
    {
      name: 'wire',
      conversations: [
        { when: 'everything', steps: [answer, { expect: 'six', text: 'Good.' }] },
        { when: 'slowly', steps: [{ text: 'one two three', delayMs: 30, chunkDelayMs: 10 }] },
        { when: 'hangs', steps: [{ fault: fault('hang') }] },
        { when: 'stops talking', steps: [{ text: 'a b c', fault: fault('hang', { afterChunks: 2 }) }] },
        ...Object.entries(faults).map(([when, each]) => ({ when, steps: [{ text: 'a b c', fault: each }] })),
      ],
    },
  ])
})
afterAll(() => server.close())

interface Event {
  type: string
  index?: number
  delta?: Record<string, string>
}
const ask = (content: unknown, more: object = {}): Promise<Response> =>
  fetch(`${server.url}/v1/messages?beta=true`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content }], ...more }),
  })
const events = (text: string): Event[] =>
  text
    .trim()
    .split('\n\n')
    .map((chunk) => {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(chunk) as RegExpExecArray
      const event = JSON.parse(data as string) as Event
      expect(event.type).toBe(name)
      return event
    })

test('an answer streams as the API does: ping, thinking with its signature, text and arguments in pieces, usage', async () => {
  const response = await ask('everything')
  expect(response.headers.get('content-type')).toContain('text/event-stream')
  expect(response.headers.get('x-scripted')).toBe('yes')
  const all = events(await response.text())
  expect(all[0]).toMatchObject({
    type: 'message_start',
    message: {
      usage: { input_tokens: 1, output_tokens: 1, cache_read_input_tokens: 3, cache_creation_input_tokens: 4 },
    },
  })
  expect(all[1]).toEqual({ type: 'ping' })
  const pieces = (index: number, field: string): string[] =>
    all.flatMap((event) => (event.index === index && event.delta?.[field] !== undefined ? [event.delta[field]] : []))
  expect(pieces(0, 'thinking').join('')).toBe('Well then.')
  expect(pieces(0, 'signature')).toHaveLength(1)
  expect(pieces(1, 'text')).toEqual(['Here ', 'it ', 'comes.'])
  const json = pieces(2, 'partial_json')
  expect(json.length).toBeGreaterThan(3)
  expect(JSON.parse(json.join(''))).toEqual({ command: 'echo one two three four five six', description: 'says it' })
  expect(all.slice(-2)).toEqual([
    { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage: { output_tokens: 2 } },
    { type: 'message_stop' },
  ])
})

test('the same answer comes whole where no stream is asked for', async () => {
  const message = (await (await ask('everything', { stream: false })).json()) as { content: { type: string }[] }
  expect(message).toMatchObject({ role: 'assistant', stop_reason: 'tool_use', usage: { output_tokens: 2 } })
  expect(message.content.map(({ type }) => type)).toEqual(['thinking', 'text', 'tool_use'])
})

test('an expectation that fails is kept, and the agent is told', async () => {
  const results = (content: string) => [
    { role: 'user', content: 'everything' },
    { role: 'user', content: [{ type: 'tool_result', content }] },
  ]
  const refused = await ask('', { messages: results('seven') })
  expect(refused.status).toBe(400)
  expect(await refused.text()).toContain('scripted expectation failed: expected the tool result to match /six/')
  expect(server.failures).toEqual(['expected the tool result to match /six/; it was: seven'])
  expect(await (await ask('', { messages: results('six') })).text()).toContain('Good.')
})

test('a chunk is sent when it is due, not with the next one', async () => {
  const response = await ask('slowly')
  const reader = response.body!.getReader()
  let chunks = 0
  while (!(await reader.read()).done) chunks += 1
  expect(chunks).toBeGreaterThan(1)
})

test('faults come as often as they are scripted, and the answer after them', async () => {
  const limited = await ask('too many')
  expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '3'])
  expect(await limited.json()).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } })
  expect(events(await (await ask('breaks off')).text()).map(({ type }) => type)).toEqual([
    'message_start',
    'ping',
    'content_block_start',
    'content_block_delta',
    'error',
  ])
  await expect(ask('drops early')).rejects.toThrow()
  const reader = (await ask('drops late')).body!.getReader()
  const received = await reader.read()
  expect(Buffer.from(received.value ?? []).toString()).toContain('message_start')
  await expect(
    (async () => {
      while (!(await reader.read()).done);
    })(),
  ).rejects.toThrow()
  const garbage = await ask('garbage instead')
  expect(garbage.headers.get('content-type')).toBe('text/plain')
  expect(await garbage.text()).not.toContain('event:')
  expect(await (await ask('garbage late')).text()).toMatch(/message_start.*ping.*not the protocol/s)
  for (const prompt of Object.keys(faults)) {
    const types = events(await (await ask(prompt)).text()).map(({ type }) => type)
    expect(types.at(-1)).toBe('message_stop')
  }
})

test('a hang keeps the connection open, before the headers or in the middle of the stream', async () => {
  const waiting = new AbortController()
  const never = fetch(`${server.url}/v1/messages`, {
    method: 'POST',
    signal: waiting.signal,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hangs' }] }),
  })
  const reader = (await ask('stops talking')).body!.getReader()
  let text = ''
  while (!text.includes('ping')) text += Buffer.from((await reader.read()).value ?? []).toString()
  // Both are at work while other requests are answered.
  expect(await (await ask('everything')).text()).toContain('message_stop')
  const more = await Promise.race([reader.read().then(() => 'more'), ask('slowly').then((answer) => answer.text())])
  expect(more).not.toBe('more')
  waiting.abort()
  await expect(never).rejects.toThrow('aborted')
  await reader.cancel()
})

test('the other calls of the protocol are answered, and what is not in it with an error of its form', async () => {
  const get = (path: string, init?: RequestInit): Promise<Response> => fetch(`${server.url}${path}`, init)
  expect((await get('/', { method: 'HEAD' })).status).toBe(200)
  expect(await (await get('/v1/models')).json()).toMatchObject({ data: [{ id: 'scripted' }] })
  expect(await (await get('/v1/models/claude-x')).json()).toMatchObject({ id: 'claude-x', type: 'model' })
  const count = await get('/v1/messages/count_tokens', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', messages: [] }),
  })
  expect(((await count.json()) as { input_tokens: number }).input_tokens).toBeGreaterThan(0)
  const unknown = await get('/v1/organizations')
  expect([unknown.status, await unknown.json()]).toMatchObject([404, { error: { type: 'not_found_error' } }])
  expect(server.calls).toContain('GET /v1/organizations')
  expect((await ask('no such prompt')).status).toBe(200)
})

test('a script that is wrong is refused with the place of the mistake', () => {
  expect(quickstartScript().name).toBe('quickstart')
  const wrong = { name: 'x', conversations: [{ when: '(', steps: [{ txt: 'a' }] }] }
  const paths = scriptSchema.safeParse(wrong).error?.issues.map(({ path }) => path.join('.'))
  expect(paths).toEqual(['conversations.0.when', 'conversations.0.steps.0'])
})
