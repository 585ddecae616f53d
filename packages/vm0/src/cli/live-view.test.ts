import { expect, test } from 'vitest'
import type { EventBody, RunView, Vm0Event } from '@vm0/contract/client'
import { LiveView } from './live-view.js'

const ids = { runId: '019aaaaa-0000-7000-8000-00004be2a911', sessionId: '019aaaaa-0000-7000-8000-00009f3c1e70' }
const digest = `sha256:4be2a911${'0'.repeat(56)}`

function shown(bodies: EventBody[], end?: Partial<RunView>): string {
  let text = ''
  const view = new LiveView({ write: (more) => (text += more), framework: 'claude-code', width: 80 })
  bodies.forEach((body, index) =>
    view.show({ v: 1, cursor: `1.${index + 1}`, time: '2026-01-01T00:00:00.000Z', ...ids, ...body } as Vm0Event),
  )
  const timings = { queuedMs: 1, sandboxReadyMs: 57, promptSentMs: 58, firstModelRequestMs: 100, firstTokenMs: 200 }
  const run = {
    ...ids,
    state: 'succeeded',
    reason: null,
    error: null,
    costUsd: 0.084,
    checkpoint: digest,
    timings: { ...timings, agentFinishedMs: 40_000, totalMs: 41_200 },
    ...end,
  }
  if (end) view.end(run as RunView, '1 file changed')
  return text
}

const started = (toolId: string, name: string, kind: string, title: string, input: unknown = {}): EventBody =>
  ({ type: 'tool.started', toolId, name, kind, title, input }) as EventBody
const finished = (toolId: string, name: string, more: object = {}): EventBody =>
  ({
    type: 'tool.finished',
    toolId,
    name,
    ok: true,
    output: '',
    outputTruncated: false,
    durationMs: 3000,
    ...more,
  }) as EventBody
const said = (text: string): EventBody => ({ type: 'message.delta', messageId: 'm', text })

test('a run from ready to done', () => {
  const edit = { old_string: 'a\nb\n', new_string: 'A\nB\nc\nd\ne\nf\ng\n' }
  const text = shown(
    [
      { type: 'sandbox.ready', sandboxId: 'x', how: 'cold', durationMs: 57, template: digest, agentVersion: '2.1.330' },
      said("I'll look at the "),
      said('failing test first. \n'),
      started('1', 'Bash', 'shell', 'npm test'),
      finished('1', 'Bash', { ok: false, exitCode: 1, durationMs: 3200, error: 'Exit code 1' }),
      started('2', 'Read', 'read', '/workspace/src/clock.ts'),
      finished('2', 'Read', { durationMs: 4 }),
      started('3', 'Edit', 'edit', '/workspace/src/clock.ts', edit),
      finished('3', 'Edit'),
      started('5', 'Write', 'edit', '/workspace/new.ts', { content: 'a\nb\n' }),
      finished('5', 'Write'),
      started('4', 'Bash', 'shell', 'npm test'),
      finished('4', 'Bash', { exitCode: 0 }),
      said('All tests pass.\n\nThe mock ignored the zone.'),
    ],
    {},
  )
  expect(text).toBe(`✓ ready in 57 ms   session 9f3c1e70  standard@4be2a911  claude-code 2.1.330
  I'll look at the failing test first.
  ▸ Bash   npm test                       ✗ exit 1   3.2 s
  ▸ Read   src/clock.ts
  ▸ Edit   src/clock.ts                   +7 −2
  ▸ Write  new.ts                         +2
  ▸ Bash   npm test                       ✓          3.0 s
  All tests pass.
  
  The mock ignored the zone.
✓ done in 41 s   $0.08   1 file changed   checkpoint 4be2a911
  queued 1 ms · sandbox ready 57 ms · first model request 100 ms · first token 200 ms · agent finished 40 s · total 41 s
  vm0 pull   ·   vm0 run -s 9f3c1e70 "…"   ·   vm0 trace
`)
})

test('tools at the same time: each result stands on its own line with what it belongs to', () => {
  expect(
    shown([
      started('1', 'Bash', 'shell', 'sleep 3'),
      started('2', 'Bash', 'shell', 'sleep 1'),
      finished('2', 'Bash', { durationMs: 1000 }),
      finished('1', 'Bash'),
      finished('9', 'Grep', { ok: false, error: 'no such\nfolder' }),
    ]),
  ).toBe(`  ▸ Bash   sleep 3
  ▸ Bash   sleep 1                        ✓          1.0 s
  ▸ Bash   sleep 3                        ✓          3.0 s
  ▸ Grep                                  ✗ no such folder
`)
})

test('a question to a person comes on a line of its own, and the call is told again when it has ended', () => {
  const asked: EventBody = { type: 'permission.requested', requestId: 'q', toolId: '1', name: 'Bash', input: {} }
  expect(shown([started('1', 'Bash', 'shell', 'rm index.html'), asked])).toBe('  ▸ Bash   rm index.html\n')
  expect(shown([started('1', 'Bash', 'shell', 'rm index.html'), asked, finished('1', 'Bash')])).toBe(
    '  ▸ Bash   rm index.html\n  ▸ Bash   rm index.html                  ✓          3.0 s\n',
  )
})

test('a message that did not come in pieces is shown whole, one that did only once', () => {
  const whole: EventBody = { type: 'message', messageId: 'n', text: 'one\ntwo' }
  expect(shown([said('in pieces'), { type: 'message', messageId: 'm', text: 'in pieces' }, whole])).toBe(
    '  in pieces\n  one\n  two\n',
  )
})

test('long and strange titles stay on their line', () => {
  const text = shown([started('1', 'Bash', 'shell', `echo ${'x'.repeat(200)}\u001B[2J\nrm`), finished('1', 'Bash')])
  expect(text.split('\n')).toHaveLength(2)
  expect(text.trimEnd().length).toBeLessThanOrEqual(80)
})

test('when it goes wrong: what, why, and what to do', () => {
  const error = { code: 'TIMED_OUT', message: 'the run took longer\nthan 5 s', hint: 'Raise limits.timeoutMs.' }
  expect(shown([said('half a sen')], { state: 'failed', reason: 'timed_out', error, costUsd: 0 })).toBe(
    `  half a sen
✗ failed (timed_out) after 41 s   $0.00   TIMED_OUT
  the run took longer than 5 s
  Raise limits.timeoutMs.
`,
  )
})
