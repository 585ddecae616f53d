import { eventBodySchema, type EventBody } from '@vm0/contract'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ClaudeProtocol } from './protocol.js'

const open = () => new ClaudeProtocol({ resumed: false, newId: () => 'id' })

const types = [
  'system',
  'assistant',
  'user',
  'result',
  'stream_event',
  'control_request',
  'control_response',
  'command_lifecycle',
  'rate_limit_event',
  'conversation_reset',
  'new_type',
]
const words = [
  ...['init', 'status', 'api_retry', 'compact_boundary', 'task_started', 'task_notification', 'hook_response'],
  ...['permission_denied', 'informational', 'success', 'error_max_turns', 'can_use_tool', 'compacting', 'cancelled'],
  ...['message_start', 'message_delta', 'message_stop', 'content_block_delta', 'text_delta', 'thinking_delta'],
  ...['text', 'thinking', 'tool_use', 'tool_result', 'web_search_tool_result', 'Bash', 'TodoWrite', 'TaskUpdate'],
  ...['local_agent', 'vm0-usage-1', 'id', '__proto__', 'constructor', ''],
]
const names = [
  ...['type', 'subtype', 'message', 'event', 'request', 'response', 'content', 'delta', 'usage', 'modelUsage', 'input'],
  ...['id', 'tool_use_id', 'parent_tool_use_id', 'session', 'model_usage', 'model_usage_since_last_result', 'text'],
  ...['task_id', 'task_type', 'command_uuid', 'state', 'status', 'user_message_uuids', 'tool_use_result', 'newTodos'],
  ...['is_error', 'error', 'result', 'duration_ms', 'input_tokens', 'output_tokens', 'inputTokens', 'costUSD', 'name'],
  ...['rate_limit_info', 'resetsAt', 'utilization', 'attempt', 'retry_delay_ms', 'error_status', 'todos', 'm'],
]

/** Values of every kind under the names and words that the protocol looks at. */
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(fc.constantFrom(...words), fc.jsonValue({ maxDepth: 1 }), fc.double(), fc.integer()),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom(...names), tie('value'), { maxKeys: 6 }),
  ),
})).value
const message = fc
  .tuple(
    fc.constantFrom(...types),
    fc.constantFrom(...words),
    fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 8 }),
  )
  .map(([type, subtype, fields]) => JSON.stringify({ ...fields, type, subtype }))
const anyLine = fc.oneof(
  { weight: 8, arbitrary: message },
  fc.string(),
  fc.jsonValue().map((each) => JSON.stringify(each)),
)

function checked(events: EventBody[]): void {
  for (const event of events) {
    // Nothing that the schema doesn't know, either.
    expect(eventBodySchema.parse(event)).toEqual(event)
    expect(JSON.parse(JSON.stringify(event))).toMatchObject({ type: event.type })
  }
}

test('whatever an agent prints, in whatever order, becomes valid events and throws nothing', () => {
  fc.assert(
    fc.property(
      fc.array(anyLine, { maxLength: 12 }),
      fc.array(fc.nat(1e6), { minLength: 12, maxLength: 12 }),
      (lines, times) => {
        const protocol = open()
        protocol.prompt('go')
        lines.forEach((line, index) => checked(protocol.translate(line, times[index] as number).events))
        protocol.interrupt()
      },
    ),
    { numRuns: 1000 },
  )
})

type Move = { tool: number; at: number }
const moves = fc.array(fc.record({ tool: fc.nat(5), at: fc.nat(10_000) }), { maxLength: 60 })

/** Each move starts its tool, or ends it when it is at work. */
function play(all: Move[]): { said: string[]; events: EventBody[] } {
  const protocol = open()
  const atWork = new Set<number>()
  const said: string[] = []
  const events: EventBody[] = []
  for (const { tool, at } of all) {
    const nested = tool % 2 === 1 ? { parent_tool_use_id: `agent-${tool}` } : {}
    const begins = !atWork.delete(tool)
    if (begins) atWork.add(tool)
    const line = begins
      ? {
          type: 'assistant',
          message: { id: `m${tool}`, content: [{ type: 'tool_use', id: `t${tool}`, name: 'Read', input: {} }] },
        }
      : { type: 'user', message: { content: [{ type: 'tool_result', tool_use_id: `t${tool}`, content: 'x' }] } }
    said.push(`${begins ? 'tool.started' : 'tool.finished'} t${tool}`)
    events.push(...protocol.translate(JSON.stringify({ ...line, ...nested }), at).events)
  }
  return { said, events }
}

test('tool calls that interleave in any way keep their order, their names and their nesting; no duration is negative', () => {
  fc.assert(
    fc.property(moves, (all) => {
      const { said, events } = play(all)
      expect(events.map((event) => `${event.type} ${'toolId' in event ? event.toolId : ''}`)).toEqual(said)
      for (const event of events) {
        if (event.type !== 'tool.started' && event.type !== 'tool.finished') continue
        expect(event.name).toBe('Read')
        const tool = Number(event.toolId.slice(1))
        expect(event.parentToolId).toBe(tool % 2 === 1 ? `agent-${tool}` : undefined)
        if (event.type === 'tool.finished') expect(event.durationMs).toBeGreaterThanOrEqual(0)
      }
    }),
  )
})

test('the text of a message is the text of its deltas, whatever other messages come between', () => {
  const texts = fc.array(fc.tuple(fc.nat(3), fc.string({ minLength: 1 })), { maxLength: 40 })
  fc.assert(
    fc.property(texts, (pieces) => {
      const protocol = open()
      const scopes = [...new Set(pieces.map(([scope]) => scope))]
      const stream = (scope: number, event: object) =>
        protocol.translate(
          JSON.stringify({ type: 'stream_event', parent_tool_use_id: scope === 0 ? null : `agent-${scope}`, event }),
          0,
        ).events
      for (const scope of scopes) stream(scope, { type: 'message_start', message: { id: `m${scope}` } })
      const deltas = pieces.flatMap(([scope, text]) =>
        stream(scope, { type: 'content_block_delta', delta: { type: 'text_delta', text } }),
      )
      for (const scope of scopes) {
        const mine = deltas.filter((event) => event.type === 'message.delta' && event.messageId === `m${scope}`)
        expect(mine.map((event) => ('text' in event ? event.text : '')).join('')).toBe(
          pieces.flatMap(([of, text]) => (of === scope ? [text] : [])).join(''),
        )
      }
    }),
  )
})
