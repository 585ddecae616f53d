import { eventBodySchema } from '@vm0/contract'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ClaudeProtocol } from './protocol.js'

const open = () => new ClaudeProtocol({ resumed: false, previousCostUsd: 0 })
const line = (message: object): string => JSON.stringify(message)

test('a tool call becomes started and finished, with duration, status and nesting', () => {
  const protocol = open()
  const started = protocol.translate(
    line({
      type: 'assistant',
      parent_tool_use_id: 'p1',
      message: { id: 'm', content: [{ type: 'tool_use', id: 't1', name: 'Bash', input: { command: 'false' } }] },
    }),
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
  const finished = protocol.translate(
    line({
      type: 'user',
      parent_tool_use_id: 'p1',
      message: { content: [{ type: 'tool_result', tool_use_id: 't1', is_error: true, content: 'Exit code 7\nno' }] },
    }),
    1250,
  )
  expect(finished.events[0]).toMatchObject({
    type: 'tool.finished',
    name: 'Bash',
    ok: false,
    exitCode: 7,
    durationMs: 250,
    parentToolId: 'p1',
  })
})

test('each turn is billed for what it added', () => {
  const protocol = open()
  const result = (total: number) =>
    protocol.translate(
      line({ type: 'result', subtype: 'success', is_error: false, result: 'x', total_cost_usd: total, usage: {} }),
      0,
    ).turnEnd?.costUsd
  expect([result(0.5), result(0.75)]).toEqual([0.5, 0.25])
})

test.each([
  [true, 30, 0.25],
  [false, 10, 1.25],
])('a resumed process that %s the earlier cost', (_counts, modelTokens, expected) => {
  const protocol = new ClaudeProtocol({ resumed: true, previousCostUsd: 1 })
  const { turnEnd } = protocol.translate(
    line({
      type: 'result',
      subtype: 'success',
      is_error: false,
      result: 'x',
      total_cost_usd: 1.25,
      usage: { output_tokens: 10 },
      modelUsage: { m: { outputTokens: modelTokens } },
    }),
    0,
  )
  expect(turnEnd?.costUsd).toBeCloseTo(expected)
})

test.each([
  [401, 'MODEL_UNAUTHORIZED'],
  [429, 'MODEL_RATE_LIMITED'],
  [529, 'MODEL_FAILED'],
])('an API failure with status %i is %s', (status, code) => {
  const { turnEnd } = open().translate(
    line({
      type: 'result',
      subtype: 'success',
      is_error: true,
      api_error_status: status,
      result: 'API Error',
      usage: {},
    }),
    0,
  )
  expect(turnEnd).toMatchObject({ reason: 'error', error: { code, httpStatus: status } })
})

test('a permission request is answered and told', () => {
  const { events, replies } = open().translate(
    line({
      type: 'control_request',
      request_id: 'r',
      request: { subtype: 'can_use_tool', tool_name: 'Bash', input: { command: 'ls' } },
    }),
    0,
  )
  expect(events[0]).toMatchObject({ type: 'permission.requested', requestId: 'r' })
  expect(JSON.parse(replies[0] as string)).toMatchObject({
    response: { request_id: 'r', response: { behavior: 'allow', updatedInput: { command: 'ls' } } },
  })
})

test('whatever an agent prints becomes valid events and throws nothing', () => {
  const type = fc.constantFrom(
    'system',
    'assistant',
    'user',
    'result',
    'stream_event',
    'control_request',
    'rate_limit_event',
    'new_type',
  )
  const message = fc.record(
    {
      type,
      subtype: fc.constantFrom('init', 'status', 'api_retry', 'success', 'x'),
      message: fc.jsonValue(),
      event: fc.jsonValue(),
      request: fc.jsonValue(),
    },
    { requiredKeys: ['type'] },
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        message.map(line),
        fc.jsonValue().map((value) => JSON.stringify(value)),
      ),
      (text) => {
        for (const event of open().translate(text, 0).events) expect(typeof event.type).toBe('string')
      },
    ),
    { numRuns: 500 },
  )
  expect(eventBodySchema.safeParse(open().translate('not json', 0).events[0]).success).toBe(true)
})
