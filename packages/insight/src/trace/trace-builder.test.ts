import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EventBody, Span, Trace } from '@vm0/contract'
import { traceIdOf, traceSchema } from '@vm0/contract'
import { RunLog } from '../run-log.test.fixture.js'
import { otlpOf } from './otlp.js'
import { perfettoOf } from './perfetto.js'
import { traceOf } from './trace-builder.js'

const traced = ({ run, events }: RunLog): Trace => traceSchema.parse(traceOf(run, events))

/** Names, indented by depth. */
function outline({ spans }: Trace): string[] {
  const depths = new Map<string | null, number>([[null, -1]])
  return spans.map(({ id, parentId, name, status }) => {
    const depth = (depths.get(parentId) as number) + 1
    depths.set(id, depth)
    return `${'  '.repeat(depth)}${name}${status === 'ok' ? '' : ` (${status})`}`
  })
}
const find = ({ spans }: Trace, kind: Span['kind']): Span => spans.find((span) => span.kind === kind) as Span

function healthy(): RunLog {
  const log = new RunLog().begin().model({ inputTokens: 10, outputTokens: 5, cacheReadTokens: 100 })
  return log.bash('npm test', 'all pass', 0, 2000).model().turnEnds().end()
}

test('the memory of a long run is bounded, and keeps its highest point', () => {
  const log = new RunLog().begin()
  const since = log.events[0]!.time
  for (let minute = 0; minute < 3_000; minute += 1) {
    const points = Array.from({ length: 60 }, (_, second) => ({
      afterMs: minute * 60_000 + second * 1_000,
      bytes: minute === 777 && second === 33 ? 9_000 : 1_000 + second,
    }))
    log.add({ type: 'sandbox.memory', since, limitBytes: 10_000, points })
  }
  const { memory } = traced(log)
  expect(memory!.points.length).toBeLessThanOrEqual(2_000)
  expect(memory).toMatchObject({ peakBytes: 9_000, limitBytes: 10_000 })
  const times = memory!.points.map(({ atMs }) => atMs)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(times.at(-1)).toBeGreaterThan(2_990 * 60_000)
})

test('a run is its queue, its start and its turns with model requests and tool calls', () => {
  const trace = traced(healthy())
  expect(outline(trace)).toEqual([
    'vm0.run',
    '  vm0.sandbox.queue',
    '  vm0.sandbox.acquire',
    '  invoke_agent claude-code',
    '    chat claude-opus-5-5',
    '    execute_tool Bash',
    '    chat claude-opus-5-5',
  ])
  expect(find(trace, 'queue').durationMs).toBe(20)
  expect(find(trace, 'start')).toMatchObject({ startMs: 20, durationMs: 480 })
  expect(find(trace, 'tool')).toMatchObject({ durationMs: 2000, attributes: { 'vm0.tool.title': 'npm test' } })
  expect(find(trace, 'model').attributes).toMatchObject({
    'gen_ai.usage.input_tokens': 110,
    'gen_ai.usage.output_tokens': 5,
    'gen_ai.usage.cache_read.input_tokens': 100,
    'gen_ai.response.time_to_first_chunk': 0.5,
    'vm0.cost.usd': 0.01,
  })
})

test('the same events give the same ids, another run others', () => {
  const { run, events } = healthy()
  const ids = (id: string): string[] => traceOf({ ...run, id }, events).spans.map((span) => span.id)
  expect(ids(run.id)).toEqual(ids(run.id))
  expect(ids('01980000-0000-7000-8000-00000000abce')).not.toContain(ids(run.id)[0])
  expect(new Set(ids(run.id)).size).toBe(ids(run.id).length)
  expect(traceIdOf(run.id)).toBe('0198000000007000800000000000abcd')
  expect(traceIdOf('00000000-0000-0000-0000-000000000000')).toMatch(/^0{31}1$/)
})

test("a caller's trace goes on with the run", () => {
  const { run, events } = healthy()
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const trace = traceSchema.parse(traceOf({ ...run, traceparent }, events))
  expect(trace).toMatchObject({ traceId: '0af7651916cd43dd8448eb211c80319c', remoteParentId: 'b7ad6b7169203331' })
  const { resourceSpans } = otlpOf(trace) as { resourceSpans: { scopeSpans: { spans: Record<string, any>[] }[] }[] }
  const [root, next] = resourceSpans[0]!.scopeSpans[0]!.spans
  expect(root).toMatchObject({ traceId: trace.traceId, parentSpanId: 'b7ad6b7169203331' })
  expect(next!.parentSpanId).toBe(root!.spanId)
})

test('what a sub-agent does lies within it, and its requests are told from those of the turn', () => {
  const log = new RunLog().begin()
  const task = log.started('Task', { prompt: 'look' })
  log.add({ type: 'subagent.started', subagentId: 'a1', toolId: task, kind: 'Explore', prompt: 'look' })
  log.add({ type: 'model.request', method: 'POST', path: '/v1/messages', first: true })
  log.add({ type: 'message.delta', messageId: 'm1', text: 'I', parentToolId: task })
  log.add({ type: 'model.response', path: '/v1/messages', httpStatus: 200, durationMs: 20 })
  const usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 }
  log.add({ type: 'usage', scope: 'step', model: 'small', messageId: 'm1', usage, parentToolId: task })
  const inner = log.started('Read', { file_path: '/a' }, { parentToolId: task })
  log.finished(inner, 'Read', 'text', { parentToolId: task })
  log.add({ type: 'subagent.finished', subagentId: 'a1', toolId: task, status: 'completed' })
  log.finished(task, 'Task', 'found').turnEnds().end()
  expect(outline(traced(log)).slice(3)).toEqual([
    '  invoke_agent claude-code',
    '    execute_tool Task',
    '      invoke_agent Explore',
    '        chat small',
    '        execute_tool Read',
  ])
})

test('answers that come at once are given to the requests during which their words came', () => {
  const log = new RunLog().begin()
  const request = (): void =>
    void log.add({ type: 'model.request', method: 'POST', path: '/v1/messages', first: false }, 100)
  const usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 }
  request() // at 610, answered at 1010
  log.add({ type: 'message.delta', messageId: 'first', text: 'a' }, 100)
  request() // at 810, answered at 910
  log.add({ type: 'message.delta', messageId: 'second', text: 'b' }, 60)
  log.add({ type: 'model.response', path: '/v1/messages', httpStatus: 200, durationMs: 100 }, 40)
  log.add({ type: 'usage', scope: 'step', model: 'b', messageId: 'second', usage }, 1)
  log.add({ type: 'model.response', path: '/v1/messages', httpStatus: 200, durationMs: 400 }, 99)
  log.add({ type: 'usage', scope: 'step', model: 'a', messageId: 'first', usage }, 1)
  const models = traced(log).spans.filter(({ kind }) => kind === 'model')
  expect(models.map(({ name, startMs, durationMs }) => [name, startMs, durationMs])).toEqual([
    ['chat a', 610, 400],
    ['chat b', 810, 100],
  ])
})

test("a sub-agent's requests are its own, though the account of them comes late and they say nothing", () => {
  const log = new RunLog().begin()
  const usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 }
  const answer = (durationMs: number): void => {
    log.add({ type: 'model.request', method: 'POST', path: '/v1/messages', first: false }, 2)
    log.add({ type: 'model.response', path: '/v1/messages', httpStatus: 200, durationMs }, durationMs)
  }
  const account = (model: string, messageId: string, parentToolId?: string): void => {
    const step = { type: 'usage' as const, scope: 'step' as const, model, messageId, usage }
    log.add({ ...step, ...(parentToolId === undefined ? {} : { parentToolId }) }, 1)
  }
  answer(9)
  const task = log.started('Agent', { prompt: 'x' }, { kind: 'subagent' })
  account('main', 'm1')
  log.add({ type: 'subagent.started', subagentId: 'a', toolId: task, kind: 'k', prompt: 'x' })
  answer(30)
  const inner = log.started('Bash', { command: 'ls' }, { parentToolId: task })
  log.finished(inner, 'Bash', '', { exitCode: 0, durationMs: 477, parentToolId: task })
  account('sub', 'm2', task)
  answer(6)
  log.add({ type: 'message', messageId: 'm3', text: 'Nobody.', parentToolId: task }, 1)
  log.finished(task, 'Agent', 'Nobody.', { durationMs: 5 })
  log.add({ type: 'model.request', method: 'POST', path: '/v1/messages', first: false }, 2)
  account('sub', 'm3', task)
  log.add({ type: 'message.delta', messageId: 'm4', text: 'N' }, 225)
  log.add({ type: 'model.response', path: '/v1/messages', httpStatus: 200, durationMs: 232 }, 6)
  account('main', 'm4')
  const models = traced(log.turnEnds().end()).spans.filter(({ kind }) => kind === 'model')
  expect(models.map(({ name, durationMs }) => [name, durationMs])).toEqual([
    ['chat main', 9],
    ['chat sub', 30],
    ['chat sub', 6],
    ['chat main', 232],
  ])
})

test('a request that failed and one that was sent again are two', () => {
  const log = new RunLog().begin().model({}, { httpStatus: 529 }).model().turnEnds().end()
  expect(outline(traced(log)).slice(4)).toEqual(['    chat (error)', '    chat claude-opus-5-5'])
  expect(find(traced(log), 'model').attributes).toMatchObject({ 'http.response.status_code': 529, 'error.type': '529' })
})

test('what was open when the run died stays open and is marked', () => {
  const log = new RunLog().begin().model()
  log.started('Bash', { command: 'npm run build' })
  log.end('died', 'out_of_memory')
  const trace = traced(log)
  expect(outline(trace).slice(3)).toEqual([
    '  invoke_agent claude-code (open)',
    '    chat claude-opus-5-5',
    '    execute_tool Bash (open)',
  ])
  expect(find(trace, 'run')).toMatchObject({ status: 'error', attributes: { 'error.type': 'out_of_memory' } })
  expect(find(trace, 'tool')).toMatchObject({ durationMs: null, attributes: { 'vm0.end.inferred': true } })
})

test('a run that never had its sandbox shows where it stood', () => {
  const log = new RunLog().add({ type: 'run.queued' }, 0).end('died', 'sandbox_start_failed')
  expect(outline(traced(log))).toEqual(['vm0.run (error)', '  vm0.sandbox.queue', '  vm0.sandbox.acquire (open)'])
  const waiting = new RunLog().add({ type: 'run.queued' }, 0)
  expect(outline(traced(waiting))).toEqual(['vm0.run (open)', '  vm0.sandbox.queue (open)'])
  expect(find(traced(waiting), 'queue').attributes).toEqual({})
})

test('each input that an agent answers is a turn; what it asks after its turn is none', () => {
  const log = new RunLog().begin().model().turnEnds()
  log.add({ type: 'model.request', method: 'POST', path: '/v1/messages/count_tokens', first: false })
  log.add({ type: 'message', messageId: 'x', text: 'more' }).turnEnds().end()
  expect(outline(traced(log)).slice(3)).toEqual([
    '  invoke_agent claude-code',
    '    chat claude-opus-5-5',
    '  POST /v1/messages/count_tokens (open)',
    '  invoke_agent claude-code',
  ])
})

test('an attempt that was lost is cut off there; the next one has a start and a turn of its own', () => {
  const log = new RunLog().begin()
  log.started('Bash', { command: 'kill -9 $PPID' })
  log.add({ type: 'run.resumed', attempt: 2, reason: 'agent_killed', note: 'go on' }, 100)
  const ready = { sandboxId: 's1', how: 'session' as const, template: 'standard', agentVersion: '2.1.330' }
  log
    .add({ type: 'sandbox.ready', durationMs: 700, ...ready }, 90)
    .model()
    .turnEnds()
    .end()
  const trace = traced(log)
  expect(outline(trace)).toEqual([
    'vm0.run',
    '  vm0.sandbox.queue',
    '  vm0.sandbox.acquire',
    '  invoke_agent claude-code (error)',
    '    execute_tool Bash (error)',
    '  vm0.sandbox.acquire',
    '  invoke_agent claude-code',
    '    chat claude-opus-5-5',
  ])
  expect(find(trace, 'tool')).toMatchObject({ durationMs: 100, attributes: { 'error.type': 'agent_killed' } })
  expect(trace.spans[5]).toMatchObject({ startMs: 620, durationMs: 90 })
  expect(find(trace, 'run').events).toMatchObject([{ name: 'vm0.run.resumed', atMs: 620 }])
})

test('OTLP carries ids, times in nanoseconds, and old names beside the new ones', () => {
  const trace = traced(healthy())
  const { resourceSpans } = otlpOf(trace) as { resourceSpans: { scopeSpans: { spans: Record<string, any>[] }[] }[] }
  const spans = resourceSpans[0]!.scopeSpans[0]!.spans
  expect(spans).toHaveLength(trace.spans.length)
  const chat = spans.find(({ name }) => name.startsWith('chat'))!
  expect(chat).toMatchObject({ traceId: trace.traceId, parentSpanId: find(trace, 'turn').id, kind: 3 })
  expect(chat.startTimeUnixNano).toBe('1767323045520000000')
  expect(BigInt(chat.endTimeUnixNano) - BigInt(chat.startTimeUnixNano)).toBe(1_000_000_000n)
  const keys = chat.attributes.map(({ key }: { key: string }) => key)
  expect(keys).toContain('gen_ai.usage.cache_write.input_tokens')
  expect(keys).toContain('gen_ai.usage.cache_creation.input_tokens')
})

test('in a Chrome trace no two things of one lane overlap', () => {
  const log = new RunLog().begin()
  const calls = ['a', 'b', 'c'].map((command) => log.started('Bash', { command }))
  for (const call of calls) log.finished(call, 'Bash', '', { exitCode: 0 })
  const { traceEvents } = perfettoOf(traced(log.turnEnds().end())) as { traceEvents: Record<string, any>[] }
  const slices = traceEvents.filter(({ ph }) => ph === 'X')
  for (const a of slices)
    for (const b of slices)
      if (a !== b && a.tid === b.tid) expect(a.ts + a.dur <= b.ts || b.ts + b.dur <= a.ts).toBe(true)
})

const toolId = fc.constantFrom('t1', 't2', 't3')
const parentToolId = fc.option(toolId, { nil: undefined })
const usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 }
const anyEvent = fc.oneof(
  fc
    .record({ toolId, parentToolId })
    .map((ids) => ({ type: 'tool.started', name: 'X', kind: 'other', input: {}, title: '', ...ids })),
  fc.record({ toolId, parentToolId }).map((ids) => ({
    type: 'tool.finished',
    name: 'X',
    ok: true,
    output: '',
    outputTruncated: false,
    durationMs: 5,
    ...ids,
  })),
  fc
    .record({ toolId, parentToolId })
    .map((ids) => ({ type: 'subagent.started', subagentId: ids.toolId, kind: 'k', prompt: '', ...ids })),
  toolId.map((subagentId) => ({ type: 'subagent.finished', subagentId, status: 'completed' })),
  fc.constant({ type: 'model.request', method: 'POST', path: '/v1/messages', first: false }),
  fc.nat(500).map((durationMs) => ({ type: 'model.response', path: '/v1/messages', httpStatus: 200, durationMs })),
  parentToolId.map((id) => ({ type: 'usage', scope: 'step', model: 'm', usage, parentToolId: id })),
  fc.constant({ type: 'agent.finished', reason: 'completed', text: '', usage, costUsd: 0, durationMs: 9 }),
  fc.constantFrom('started', 'finished', 'failed').map((phase) => ({ type: 'compaction', phase })),
  fc
    .constantFrom('started', 'finished')
    .map((phase) => ({ type: 'hook', phase, hookId: 'h', name: 'n', event: 'Stop' })),
  fc.constant({ type: 'permission.requested', requestId: 'r', name: 'X', input: {} }),
  fc.constant({ type: 'permission.resolved', requestId: 'r', name: 'X', decision: 'deny', by: 'agent' }),
)

test('any order of events is a tree: one root, parents first, no time below zero, and every call is there', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyEvent, fc.integer({ min: -50, max: 200 })), { maxLength: 60 }), (events) => {
      const log = new RunLog().begin()
      for (const [body, afterMs] of events) log.add(body as EventBody, afterMs)
      const trace = traced(log.end('died', 'agent_crashed'))
      const known = new Set<string>()
      for (const { id, parentId, startMs, durationMs } of trace.spans) {
        if (known.size > 0) expect(known).toContain(parentId)
        expect(known).not.toContain(id)
        known.add(id)
        expect(Math.min(startMs, durationMs ?? 0)).toBeGreaterThanOrEqual(0)
      }
      const called = new Set(log.events.flatMap((event) => (event.type === 'tool.started' ? [event.toolId] : [])))
      for (const each of called)
        expect(trace.spans.some(({ attributes }) => attributes['gen_ai.tool.call.id'] === each)).toBe(true)
      const used = trace.spans.filter((span) => span.kind === 'model' && 'gen_ai.usage.input_tokens' in span.attributes)
      expect(used).toHaveLength(log.events.filter(({ type }) => type === 'usage').length)
    }),
  )
})

test('requests without end cost time in proportion to their number, and every account is in the trace', () => {
  const log = new RunLog().begin()
  for (let index = 0; index < 20_000; index++) log.model({ inputTokens: 1 }, { durationMs: 2 })
  const beganMs = performance.now()
  const { spans } = traceOf(log.run, log.events)
  expect(spans.filter(({ attributes }) => attributes['gen_ai.usage.input_tokens'] === 1)).toHaveLength(20_000)
  // A bound for a machine that others use too; quadratic work takes minutes.
  expect(performance.now() - beganMs).toBeLessThan(30_000)
})
