import type { EventBody } from '@vm0/contract'
import { expect, test } from 'vitest'
import { ClaudeProtocol } from './protocol.js'

const open = () => {
  let ids = 0
  return new ClaudeProtocol({ resumed: false, newId: () => `id-${(ids += 1)}` })
}
const line = (message: object): string => JSON.stringify(message)
const result = (more: object = {}): string =>
  line({ type: 'result', subtype: 'success', is_error: false, result: 'x', session_id: 's', modelUsage: {}, ...more })

test('a tool call becomes started and finished, with duration, status and nesting', () => {
  const protocol = open()
  const content = [{ type: 'tool_use', id: 't1', name: 'Bash', input: { command: 'false' } }]
  const started = protocol.translate(
    line({ type: 'assistant', parent_tool_use_id: 'p1', message: { id: 'm', content } }),
    1000,
  )
  expect(started.events).toEqual([
    {
      type: 'tool.started',
      toolId: 't1',
      name: 'Bash',
      kind: 'shell',
      input: { command: 'false' },
      title: 'false',
      parentToolId: 'p1',
    },
  ])
  const results = [{ type: 'tool_result', tool_use_id: 't1', is_error: true, content: 'Exit code 7\nno' }]
  const finished = protocol.translate(
    line({ type: 'user', parent_tool_use_id: 'p1', message: { content: results } }),
    1250,
  )
  expect(finished.events).toEqual([
    {
      type: 'tool.finished',
      toolId: 't1',
      name: 'Bash',
      ok: false,
      exitCode: 7,
      error: 'Exit code 7\nno',
      output: 'Exit code 7\nno',
      outputTruncated: false,
      durationMs: 250,
      parentToolId: 'p1',
    },
  ])
})

test('tools that run at the provider give their results in the answer itself', () => {
  const content = [
    { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'otters' } },
    { type: 'web_search_tool_result', tool_use_id: 's1', content: [{ type: 'web_search_result', url: 'u' }] },
  ]
  const { events } = open().translate(line({ type: 'assistant', message: { id: 'm', content } }), 5)
  expect(events).toMatchObject([
    { type: 'tool.started', name: 'web_search', kind: 'fetch', title: 'otters' },
    { type: 'tool.finished', toolId: 's1', ok: true, output: '[web_search_result]', durationMs: 0 },
  ])
})

test.each([
  [401, 'MODEL_UNAUTHORIZED'],
  [403, 'MODEL_UNAUTHORIZED'],
  [429, 'MODEL_RATE_LIMITED'],
  [529, 'MODEL_FAILED'],
])('an API failure with status %i, which the agent calls a success, is %s', (status, code) => {
  const protocol = open()
  protocol.prompt('go')
  const { turnEnd } = protocol.translate(result({ is_error: true, api_error_status: status, result: 'API Error' }), 0)
  expect(turnEnd).toMatchObject({ reason: 'error', error: { code, httpStatus: status } })
})

test('what the agent may ask is allowed, what only a person could answer is refused, and the rest is answered too', () => {
  const ask = (request: object) => open().translate(line({ type: 'control_request', request_id: 'r', request }), 0)
  const answer = ({ replies }: { replies: string[] }): unknown => JSON.parse(replies[0] as string)
  const bash = ask({ subtype: 'can_use_tool', tool_name: 'Bash', input: { command: 'ls' }, tool_use_id: 't' })
  expect(bash.events).toEqual([
    { type: 'permission.requested', requestId: 'r', toolId: 't', name: 'Bash', input: { command: 'ls' } },
    { type: 'permission.resolved', requestId: 'r', toolId: 't', name: 'Bash', decision: 'allow', by: 'platform' },
  ])
  expect(answer(bash)).toMatchObject({
    response: { request_id: 'r', response: { behavior: 'allow', updatedInput: { command: 'ls' } } },
  })
  const question = ask({ subtype: 'can_use_tool', tool_name: 'Ask', input: {}, requires_user_interaction: true })
  expect(question.events[1]).toMatchObject({ decision: 'deny' })
  expect(answer(question)).toMatchObject({ response: { response: { behavior: 'deny' } } })
  expect(answer(ask({ subtype: 'elicitation' }))).toMatchObject({ response: { subtype: 'error', request_id: 'r' } })
})

test('a rate limit is told with its end and how much of it is used', () => {
  const rate_limit_info = {
    status: 'allowed_warning',
    resetsAt: 1795600000,
    rateLimitType: 'five_hour',
    utilization: 0.92,
  }
  expect(open().translate(line({ type: 'rate_limit_event', rate_limit_info }), 0).events).toEqual([
    {
      type: 'rate_limit',
      status: 'allowed_warning',
      resetsAt: '2026-11-25T09:46:40.000Z',
      limit: 'five_hour',
      used: 0.92,
    },
  ])
})

test('the run ends when the prompt is answered, and every text that was said meanwhile', () => {
  const protocol = open()
  protocol.prompt('one')
  protocol.input('two')
  protocol.input('three')
  const first = protocol.translate(result({ result: 'both', user_message_uuids: ['id-1', 'id-2'], duration_ms: 10 }), 0)
  expect(first).toMatchObject({ events: [] })
  expect(first.turnEnd).toBeUndefined()
  const last = protocol.translate(result({ result: 'third', user_message_uuids: ['id-3'], duration_ms: 5 }), 0)
  expect(last.turnEnd).toMatchObject({ reason: 'completed', text: 'third', unanswered: 0 })
  expect(last.events.at(-1)).toMatchObject({ type: 'agent.finished', text: 'third', durationMs: 15 })
})

test('a text that could not be written is not waited for', () => {
  const protocol = open()
  protocol.prompt('one')
  protocol.withdraw(protocol.input('two'))
  const { turnEnd } = protocol.translate(result({ user_message_uuids: ['id-1'] }), 0)
  expect(turnEnd).toMatchObject({ reason: 'completed', unanswered: 0 })
})

test('a turn that the agent opened by itself ends nothing, and is billed', () => {
  const protocol = open()
  protocol.prompt('one')
  const used = (costUSD: number) => ({ m: { inputTokens: 1, outputTokens: 2, costUSD } })
  const own = result({ origin: { kind: 'task-notification' }, model_usage_since_last_result: used(0.25) })
  expect(protocol.translate(own, 0).turnEnd).toBeUndefined()
  const { turnEnd } = protocol.translate(
    result({ user_message_uuids: ['id-1'], model_usage_since_last_result: used(0.5) }),
    0,
  )
  expect(turnEnd).toMatchObject({ costUsd: 0.75, usage: { inputTokens: 2, outputTokens: 4 } })
})

test('a failed turn ends the run, and tells that the agent holds a text that it would go on to answer', () => {
  const protocol = open()
  protocol.prompt('one')
  protocol.input('two')
  const failed = result({ subtype: 'error_max_turns', is_error: true, user_message_uuids: ['id-1'] })
  expect(protocol.translate(failed, 0).turnEnd).toMatchObject({ reason: 'max_turns', unanswered: 1 })
  // Its late result is none of the next prompt's.
  protocol.prompt('three')
  expect(protocol.translate(result({ user_message_uuids: ['id-2'] }), 0).turnEnd).toBeUndefined()
})

test('a text that the agent drops is told, and waited for no longer', () => {
  const protocol = open()
  const fate = (id: string, state: string) =>
    protocol.translate(line({ type: 'command_lifecycle', command_uuid: id, state }), 0)
  protocol.prompt('one')
  protocol.input('two')
  expect(fate('id-2', 'started').events).toEqual([])
  expect(fate('id-2', 'cancelled').events).toEqual([
    { type: 'notice', level: 'warning', text: 'the agent did not take this: two' },
  ])
  expect(protocol.translate(result({ user_message_uuids: ['id-1'] }), 0).turnEnd).toMatchObject({ reason: 'completed' })
  protocol.prompt('three')
  expect(fate('id-3', 'refused').turnEnd).toMatchObject({ reason: 'error', error: { code: 'AGENT_FAILED' } })
  protocol.prompt('four')
  protocol.interrupt()
  expect(fate('id-4', 'cancelled').turnEnd).toMatchObject({ reason: 'interrupted', error: null })
})

test('a process that finds no conversation to go on with has done nothing, and tells so', () => {
  const protocol = open()
  protocol.prompt('one')
  const errors = ['No conversation found with session ID: 5c3f7f9d-2598-42f3-adc9-7be6b14a5a1c']
  const lost = line({ type: 'result', subtype: 'error_during_execution', is_error: true, errors, num_turns: 0 })
  expect(protocol.translate(lost, 0)).toMatchObject({
    events: [],
    turnEnd: { conversationLost: true, reason: 'error' },
  })
})

test('an interrupted turn is no error, whatever its result says', () => {
  const protocol = open()
  protocol.prompt('one')
  expect(JSON.parse(protocol.interrupt()[0] as string)).toMatchObject({
    request: { subtype: 'interrupt', cancel_queued: true },
  })
  const ended = result({
    subtype: 'error_during_execution',
    is_error: true,
    errors: ['x'],
    user_message_uuids: ['id-1'],
  })
  expect(protocol.translate(ended, 0).turnEnd).toMatchObject({ reason: 'interrupted', error: null })
})

const only = (text: string): EventBody => {
  const { events } = open().translate(text, 0)
  expect(events).toHaveLength(1)
  return events[0] as EventBody
}

test('what is not known becomes raw, and is marked where it is cut', () => {
  expect(only('not json')).toEqual({ type: 'raw', source: 'claude-code', data: 'not json' })
  expect(only('[1,2]')).toEqual({ type: 'raw', source: 'claude-code', data: '[1,2]' })
  expect(only(line({ type: 'new_type', a: 1 }))).toEqual({
    type: 'raw',
    source: 'claude-code',
    data: { type: 'new_type', a: 1 },
  })
  const long = only('x'.repeat(10_000_000))
  expect(long).toMatchObject({ type: 'raw', truncated: true })
  expect(JSON.stringify(long)).toMatch(/…\[99\d{5} characters cut\]…x+"/)
  expect(JSON.stringify(long).length).toBeLessThan(70_000)
  const wide = only(line({ type: 'new_type', many: Array.from({ length: 1_000_000 }, () => 'item') }))
  expect(JSON.stringify(wide).length).toBeLessThan(140_000)
  expect(wide).toMatchObject({ truncated: true })
})

test('a message as deep as the parser takes it can still be written', () => {
  const deep = `${'[{"a":'.repeat(100_000)}1${'}]'.repeat(100_000)}`
  expect(JSON.stringify(only(`{"type":"new_type","deep":${deep}}`))).toContain('deeper parts cut')
  const content = `[{"type":"tool_use","id":"t","name":"Bash","input":${deep}}]`
  expect(JSON.stringify(only(`{"type":"assistant","message":{"id":"m","content":${content}}}`))).toContain(
    'tool.started',
  )
})

test('one line gives neither an event of many megabytes nor events without end', () => {
  const assistant = (content: object[]): EventBody[] =>
    open().translate(line({ type: 'assistant', message: { id: 'm', content } }), 0).events
  const [long, ...none] = assistant([{ type: 'text', text: 'y'.repeat(5_000_000) }])
  expect(none).toEqual([])
  expect(long).toMatchObject({ type: 'raw', truncated: true, data: expect.stringContaining('"type":"message"') })
  expect(JSON.stringify(long).length).toBeLessThan(70_000)
  const many = assistant(Array.from({ length: 100_000 }, () => ({ type: 'text', text: 'z' })))
  expect(many).toHaveLength(1001)
  expect(many.at(-1)).toMatchObject({ type: 'notice', text: '99000 more events of one message are cut' })
})

test('only what looks as the agent makes it is taken for the id of its conversation', () => {
  const init = (session_id: string) => open().translate(line({ type: 'system', subtype: 'init', session_id }), 0)
  const id = '5c3f7f9d-2598-42f3-adc9-7be6b14a5a1c'
  expect(init(id)).toMatchObject({ agentSessionId: id, events: [{ type: 'run.started', agentSessionId: id }] })
  for (const forged of ['', '--model', `${id} `, '../../etc/passwd'])
    expect(init(forged).agentSessionId).toBeUndefined()
})

test("a tool's long output keeps its head and its last words", () => {
  const protocol = open()
  const content = [{ type: 'tool_result', tool_use_id: 't', content: `begin${'.'.repeat(1_000_000)}end` }]
  const [finished] = protocol.translate(line({ type: 'user', message: { content } }), 0).events
  expect(finished).toMatchObject({
    outputTruncated: true,
    output: expect.stringMatching(/^begin.*characters cut.*end$/s),
  })
  expect(JSON.stringify(finished).length).toBeLessThan(70_000)
})
