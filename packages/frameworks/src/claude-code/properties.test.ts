import { readdirSync } from 'node:fs'
import { eventBodySchema, type EventBody } from '@vm0/contract'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readRecording } from './fixtures/recording.js'
import { ClaudeProtocol } from './protocol.js'

const open = () => new ClaudeProtocol({ resumed: false, newId: () => 'id' })

const fixtures = new URL('./fixtures/', import.meta.url)
const recorded = readdirSync(fixtures)
  .filter((file) => file.endsWith('.ndjson'))
  .flatMap((file) => readRecording(new URL(file, fixtures)))
  .flatMap((entry) => ('line' in entry ? [entry.line as Record<string, unknown>] : []))

/** The names and short words that the agent uses, with those of messages that no recording has, and with traps. */
const names = new Set(['rate_limit_info', 'resetsAt', 'utilization', 'todos', '__proto__'])
const words = new Set([
  'rate_limit_event',
  'can_use_tool',
  'cancelled',
  'TodoWrite',
  'vm0-usage-1',
  '__proto__',
  'constructor',
])
const collect = (part: unknown): void => {
  if (typeof part === 'string' && part.length < 30) words.add(part)
  if (typeof part !== 'object' || part === null) return
  if (!Array.isArray(part)) for (const name of Object.keys(part)) names.add(name)
  for (const inner of Object.values(part)) collect(inner)
}
collect(recorded)

const name = fc.constantFrom(...names)
const word = fc.constantFrom(...words)
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(word, fc.jsonValue({ maxDepth: 1 }), fc.double(), fc.integer()),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 6 }),
  ),
})).value

/** A recorded message in which some part is something else. */
const altered = fc
  .tuple(fc.constantFrom(...recorded), fc.array(fc.nat(30), { minLength: 1, maxLength: 5 }), value)
  .map(([message, path, other]) => JSON.stringify(replaced(message, path, other)))
function replaced(part: unknown, [step = 0, ...path]: number[], other: unknown): unknown {
  if (typeof part !== 'object' || part === null) return other
  const entries = Object.entries(part)
  const chosen = entries.length === 0 ? -1 : step % entries.length
  const changed = entries.map(([key, inner], index) => [
    key,
    index !== chosen ? inner : path.length > 0 ? replaced(inner, path, other) : other,
  ])
  return Array.isArray(part) ? changed.map(([, inner]) => inner) : Object.fromEntries(changed)
}
const invented = fc
  .tuple(word, word, fc.dictionary(name, value, { maxKeys: 8 }))
  .map(([type, subtype, fields]) => JSON.stringify({ ...fields, type, subtype }))
const anyLine = fc.oneof(
  { weight: 6, arbitrary: altered },
  { weight: 3, arbitrary: invented },
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
