import type { Vm0Event } from '@vm0/contract'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toldBy } from './entry.js'
import { mergeByTime, type Timed } from './merge.js'

async function* of<T>(items: readonly Timed<T>[]): AsyncGenerator<Timed<T>> {
  yield* items
}
const whole = { holdMs: 0, now: () => 0, sleep: () => new Promise<void>(() => undefined) }
async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}
const times = (side: string) => (list: number[]) =>
  list.map((timeMs, index) => ({ timeMs, value: { side, index, timeMs } }))

test('two sequences in order become one in order, with all of both', async () => {
  const ordered = fc.array(fc.nat(50)).map((list) => list.toSorted((a, b) => a - b))
  await fc.assert(
    fc.asyncProperty(ordered, ordered, async (a, b) => {
      const merged = await all(mergeByTime(of(times('a')(a)), of(times('b')(b)), whole))
      expect(merged.map(({ timeMs }) => timeMs)).toEqual([...a, ...b].toSorted((one, other) => one - other))
    }),
  )
})

test('each keeps its own order, whatever its times say, and nothing is lost or told twice', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(50)), fc.array(fc.nat(50)), async (a, b) => {
      const merged = await all(mergeByTime(of(times('a')(a)), of(times('b')(b)), whole))
      for (const [side, list] of [
        ['a', a],
        ['b', b],
      ] as const)
        expect(merged.filter((item) => item.side === side).map(({ index }) => index)).toEqual(
          list.map((_, index) => index),
        )
    }),
  )
})

test('what is live is held back for a moment, in which the other may have something earlier', async () => {
  let now = 1000
  const sleeps: (() => void)[] = []
  let tellLate: (item: Timed<string>) => void = () => undefined
  const late = new Promise<Timed<string>>((resolve) => (tellLate = resolve))
  const quiet = (async function* () {
    yield await late
    yield await new Promise<Timed<string>>(() => undefined)
  })()
  const merged = mergeByTime(
    of([
      { timeMs: 1000, value: 'second' },
      { timeMs: 1010, value: 'third' },
    ]),
    quiet,
    { holdMs: 250, now: () => now, sleep: () => new Promise((resolve) => sleeps.push(resolve)) },
  )
  const first = merged.next()
  tellLate({ timeMs: 990, value: 'first' })
  expect((await first).value).toBe('first')
  const second = merged.next()
  now = 1300
  while (sleeps.length === 0) await new Promise((resolve) => setImmediate(resolve))
  for (const wake of sleeps.splice(0)) wake()
  expect((await second).value).toBe('second')
  expect((await merged.next()).value).toBe('third')
})

test('what both have had for long comes in order though one of them is read more slowly; then nothing is held', async () => {
  let now = 1_000_000
  let slept = 0
  const slow = (async function* () {
    for (const [index, timeMs] of [1, 3, 5].entries()) {
      await new Promise((resolve) => setImmediate(resolve))
      yield { timeMs, value: `slow ${index}` }
    }
    // It is live, and nothing more comes.
    await new Promise(() => undefined)
  })()
  const fast = Array.from({ length: 1000 }, (_, index) => ({ timeMs: index * 2, value: `fast ${index}` }))
  const merged = mergeByTime(of(fast), slow, {
    holdMs: 250,
    now: () => now,
    sleep: async (ms) => {
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
      slept += 1
      now += ms
    },
  })
  const found: string[] = []
  for await (const value of merged) if (found.push(value) === 1003) break
  expect(found.slice(0, 6)).toEqual(['fast 0', 'slow 0', 'fast 1', 'slow 1', 'fast 2', 'slow 2'])
  expect(found.at(-1)).toBe('fast 999')
  expect(slept).toBeLessThan(10)
})

test('an error of either is told to who reads', async () => {
  const broken = (async function* (): AsyncGenerator<Timed<string>> {
    yield { timeMs: 1, value: 'one' }
    throw new Error('broken')
  })()
  await expect(all(mergeByTime(of(times('a')([5])), broken, whole))).rejects.toThrow('broken')
})

const event = (body: object): Vm0Event =>
  ({ v: 1, cursor: '1.1', time: '2026-01-01T00:00:00.000Z', runId: 'r', sessionId: 's', ...body }) as Vm0Event

test.each<[object, object]>([
  [{ type: 'run.queued' }, { source: 'server', level: 'info' }],
  [
    { type: 'stderr', text: 'a\nb\u001b[31m' },
    { source: 'agent', level: 'info', text: 'a b\u001b[31m' },
  ],
  [{ type: 'message', messageId: 'm', text: 'x'.repeat(1000) }, { text: `${'x'.repeat(499)}…` }],
  [
    { type: 'message.delta', messageId: 'm', text: ' ' },
    { level: 'debug', text: 'message.delta' },
  ],
  [
    { type: 'tool.finished', name: 'Bash', ok: false, exitCode: 3, output: 'no', durationMs: 1200 },
    { source: 'agent', level: 'warn', text: '✗ exit 3 Bash after 1.2 s: no' },
  ],
  [
    { type: 'model.response', path: '/v1/messages', httpStatus: 529, durationMs: 80 },
    { source: 'gateway', level: 'warn' },
  ],
  [
    { type: 'sandbox.report', trigger: 'cpu_starved', share: 0.8 },
    {
      source: 'sandbox',
      level: 'warn',
      text: 'its processes waited 80% of the time for CPU time: the sandbox had used up its own',
    },
  ],
  [
    { type: 'run.finished', outcome: 'died', reason: 'host_lost', error: { message: 'gone' } },
    { source: 'runner', level: 'error', text: 'the run has died (host_lost): gone' },
  ],
  [{ type: 'of a later version' }, { source: 'agent', level: 'info', text: 'of a later version' }],
])('%j is told by who told it, on one line', (body, told) => {
  expect(toldBy(event(body))).toMatchObject(told)
})
