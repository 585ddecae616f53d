import { expect, test } from 'vitest'
import type { Span, Trace } from '@vm0/contract'
import { waterfall } from './waterfall.js'

let count = 0
function span(kind: Span['kind'], parent: Span | null, more: Partial<Span> = {}): Span {
  count += 1
  const id = count.toString(16).padStart(16, '0')
  const whole = {
    id,
    parentId: parent?.id ?? null,
    kind,
    name: kind,
    startMs: 0,
    durationMs: 1000,
    status: 'ok' as const,
  }
  return { ...whole, attributes: {}, events: [], cursors: [], ...more }
}
function trace(spans: Span[]): Trace {
  const ids = {
    traceId: '1'.repeat(32),
    remoteParentId: null,
    runId: 'r',
    sessionId: 's',
    startTime: '2026-01-02T03:04:05.000Z',
  }
  return { ...ids, durationMs: 1000, spans, memory: null }
}
const run = span('run', null)
const turn = span('turn', run, { startMs: 100, durationMs: 900, attributes: { 'vm0.turn.index': 1 } })
const tool = (name: string, title: string) => ({ 'gen_ai.tool.name': name, 'vm0.tool.title': title })

test('each span is a line in the tree, with its part of the time, its duration and its cost', () => {
  const lines = waterfall(
    trace([
      run,
      span('queue', run, { durationMs: 100 }),
      turn,
      span('model', turn, {
        startMs: 100,
        durationMs: 400,
        attributes: { 'gen_ai.request.model': 'claude-opus-5-5', 'vm0.cost.usd': 0.02 },
      }),
      span('tool', turn, {
        startMs: 500,
        durationMs: 500,
        status: 'error',
        attributes: { ...tool('Bash', 'npm test'), 'process.exit.code': 2, 'error.type': 'exit_status' },
      }),
      span('checkpoint', run, {
        startMs: 1000,
        durationMs: 0,
        attributes: { 'vm0.checkpoint.id': `sha256:${'a'.repeat(64)}` },
      }),
    ]),
    80,
  )
  expect(lines).toEqual([
    '                                  0             1.0 s',
    'run                               ███████████████████    1.0 s',
    '├ queue                           █▉                    100 ms',
    '├ turn 1                           █████████████████▏   900 ms',
    '│ ├ claude-opus-5-5                ███████▋             400 ms  $0.02',
    '│ └ Bash npm test                          █████████▌   500 ms  ✗ exit 2',
    '└ checkpoint aaaaaaaa                               ▏     0 ms',
  ])
})

test('the memory of the sandbox is under the spans, on their time axis, as high as the most that was in use', () => {
  const MiB = 1024 ** 2
  const points = [
    { atMs: 100, bytes: 50 * MiB },
    { atMs: 500, bytes: 100 * MiB },
    { atMs: 900, bytes: 400 * MiB },
    { atMs: 950, bytes: 10 * MiB },
  ]
  const memory = { limitBytes: 1024 * MiB, peakBytes: 400 * MiB, points }
  expect(waterfall({ ...trace([run]), memory }, 80).slice(-3)).toEqual([
    'memory                                             █',
    'peak 400.0 MiB                                     █',
    'of 1.0 GiB                         ▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆▆█▁',
  ])
})

test('what has no end reaches to the end and says so', () => {
  const open = { startMs: 500, durationMs: null, status: 'open' as const, attributes: tool('Bash', 'npm run build') }
  expect(waterfall(trace([run, span('tool', run, open)]), 80).at(-1)).toMatch(/Bash npm run build +░{10} +no end$/)
})

test('nothing that an agent wrote moves the cursor, and no line is longer than the terminal', () => {
  const title = `\u001B[2J\u001B]0;x\u0007 ${'long '.repeat(100)}\r\nnext`
  const attributes = { ...tool('Bash', title), 'error.type': '\u001B[31m' }
  for (const line of waterfall(trace([run, span('tool', run, { attributes, status: 'error' })]), 100)) {
    // oxlint-disable-next-line no-control-regex -- finding them is the purpose
    expect(line).not.toMatch(/[\u0000-\u001F]/)
    expect([...line].length).toBeLessThanOrEqual(100)
  }
})
