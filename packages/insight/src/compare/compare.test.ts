import fc from 'fast-check'
import { expect, test } from 'vitest'
import { recordOf } from '../record/run-record.js'
import { RunLog } from '../run-log.test.fixture.js'
import { cohortsOf } from './cohorts.js'
import { alignedCalls, compareRuns } from './comparison.js'
import { digestOf, type RunDigest } from './digest.js'
import { meanDifference, meanOf, quantile, shareDifference, shareOf } from './intervals.js'
import { replayPoint } from './replay-point.js'

test('a share has the interval of Wilson, two have that of Newcombe', () => {
  const some = shareOf(8, 10)
  expect([some.value, some.n]).toEqual([0.8, 10])
  expect(some.low).toBeCloseTo(0.4902, 4)
  expect(some.high).toBeCloseTo(0.9433, 4)
  expect(shareOf(0, 0)).toEqual({ value: null, low: null, high: null, n: 0 })
  // The example of Newcombe's paper of 1998.
  const more = shareDifference({ successes: 48, total: 80 }, { successes: 56, total: 70 })
  expect(more.value).toBeCloseTo(0.2, 10)
  expect(more.low).toBeCloseTo(0.0524, 4)
  expect(more.high).toBeCloseTo(0.3339, 4)
})

test('an interval holds its value and lies where it can, and more runs make it narrower', () => {
  const runs = fc
    .integer({ min: 1, max: 500 })
    .chain((total) => fc.tuple(fc.integer({ min: 0, max: total }), fc.constant(total)))
  fc.assert(
    fc.property(runs, ([successes, total]) => {
      const { value, low, high } = shareOf(successes, total)
      expect(low!).toBeGreaterThanOrEqual(0)
      expect(high!).toBeLessThanOrEqual(1)
      expect(value!).toBeGreaterThanOrEqual(low!)
      expect(value!).toBeLessThanOrEqual(high!)
      const ten = shareOf(successes * 10, total * 10)
      expect(ten.high! - ten.low!).toBeLessThan(high! - low! + 1e-12)
    }),
  )
  const values = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 30 })
  fc.assert(
    fc.property(values, (all) => {
      const { value, low, high } = meanOf(all)
      expect(low!).toBeLessThanOrEqual(value!)
      expect(high!).toBeGreaterThanOrEqual(value!)
      expect(low!).toBeGreaterThanOrEqual(Math.min(...all) - 1e-6)
      expect(high!).toBeLessThanOrEqual(Math.max(...all) + 1e-6)
      expect(meanOf(all)).toEqual({ value, low, high, n: all.length })
    }),
    { numRuns: 30 },
  )
})

test('a bootstrap interval is that of the mean; of one value there is none', () => {
  const values = Array.from({ length: 100 }, (_, index) => index)
  const { value, low, high } = meanOf(values)
  expect(value).toBe(49.5)
  // 1.96 standard errors of the mean, each 2.89.
  expect(low!).toBeGreaterThan(42.5)
  expect(low!).toBeLessThan(45.5)
  expect(high!).toBeGreaterThan(53.5)
  expect(high!).toBeLessThan(56.5)
  expect(meanOf([3])).toEqual({ value: 3, low: null, high: null, n: 1 })
  expect(
    meanDifference(
      values,
      values.map((each) => each + 50),
    ).low,
  ).toBeGreaterThan(40)
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5)
  expect(quantile([], 0.5)).toBeNull()
})

const digest = (more: Partial<RunDigest>): RunDigest => ({
  id: 'r',
  outcome: 'succeeded',
  reason: null,
  labels: {},
  template: 't',
  release: 'claude-code 2',
  model: 'm',
  durationMs: 1000,
  costUsd: 0.1,
  tokens: 10,
  modelRequests: 1,
  toolCalls: 2,
  toolFailures: 0,
  findings: {},
  ...more,
})

test('runs are put together by a label, the largest cohort first; the others say how they differ', () => {
  const of = (variant: string, count: number, more: Partial<RunDigest>) =>
    Array.from({ length: count }, () => digest({ labels: { variant }, ...more }))
  const cohorts = cohortsOf(
    [
      ...of('before', 12, { outcome: 'died', reason: 'out_of_memory', findings: { 'loop.exact': 2 } }),
      ...of('before', 8, {}),
      ...of('after', 15, { costUsd: 0.05 }),
      digest({}),
    ],
    'label:variant',
  )
  expect(cohorts.map(({ value, runs, enough }) => [value, runs, enough])).toEqual([
    ['before', 20, true],
    ['after', 15, true],
    ['', 1, false],
  ])
  const [before, after] = cohorts
  expect(before).toMatchObject({ difference: null, reasons: { out_of_memory: 12 } })
  expect(before!.findings).toMatchObject([{ kind: 'loop.exact', runs: 12, share: { value: 0.6 } }])
  expect(after!.difference!.success.low).toBeGreaterThan(0.2)
  expect(after!.difference!.costUsd.value).toBeCloseTo(-0.05, 10)
  expect(cohortsOf([digest({ model: 'a' }), digest({ model: 'b' })], 'model')).toHaveLength(2)
  expect(cohortsOf([], 'release')).toEqual([])
})

function log(commands: [string, number][]): RunLog {
  const made = new RunLog().begin()
  for (const [command, exit] of commands) made.model({ inputTokens: 5 }).bash(command, `${command} said`, exit)
  return made.turnEnds().end()
}

test('two runs: what they were given, what came out, and which calls one has that the other has not', () => {
  const [a, b] = [
    log([
      ['ls', 0],
      ['npm test', 1],
      ['npm install', 0],
      ['npm test', 0],
    ]),
    log([
      ['ls', 0],
      ['pnpm test', 0],
      ['npm test', 0],
    ]),
  ]
  const compared = (each: RunLog, memoryMiB: string) => ({
    run: each.run,
    record: recordOf(each.events),
    settings: { memoryMiB, cpus: '2' },
  })
  const { settings, figures, calls } = compareRuns(compared(a, '2048'), compared(b, '4096'))
  expect(settings).toEqual([{ name: 'memoryMiB', a: '2048', b: '4096' }])
  expect(figures.find(({ name }) => name === 'toolFailures')).toEqual({ name: 'toolFailures', a: 1, b: 0 })
  expect(calls.map(({ in: where, title, a: x, b: y }) => [where, title, x?.ok ?? null, y?.ok ?? null])).toEqual([
    ['both', 'Bash ls', true, true],
    ['a', 'Bash npm test', false, null],
    ['a', 'Bash npm install', true, null],
    ['b', 'Bash pnpm test', null, true],
    ['both', 'Bash npm test', true, true],
  ])
})

test('an alignment has every call of both in order, and of the same run pairs all', () => {
  const commands = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 12 })
  fc.assert(
    fc.property(commands, commands, (x, y) => {
      const of = (list: string[]) => recordOf(log(list.map((each) => [each, 0])).events).calls
      const rows = alignedCalls(of(x), of(y))
      expect(rows.filter(({ in: where }) => where !== 'b').map(({ title }) => title.slice(5))).toEqual(x)
      expect(rows.filter(({ in: where }) => where !== 'a').map(({ title }) => title.slice(5))).toEqual(y)
      expect(alignedCalls(of(x), of(x)).every(({ in: where }) => where === 'both')).toBe(true)
    }),
    { numRuns: 40 },
  )
})

test('a digest takes the model that answered, and counts failures and findings', () => {
  const made = log([
    ['npm test', 1],
    ['npm test', 1],
    ['npm test', 1],
  ])
  expect(digestOf(recordOf(made.events), made.run)).toMatchObject({
    template: 'standard',
    model: 'claude-opus-5-5',
    toolCalls: 3,
    toolFailures: 3,
    findings: { 'cmd.repeat_fail': 1 },
  })
})

test('a replay begins at what was saved last before the call, also where that was told late', () => {
  const made = new RunLog().begin()
  made.call('Write', { file_path: 'a' }, 'ok').bash('cat a', 'a')
  const late = made.started('Write', { file_path: 'b' })
  const commit = { type: 'checkpoint.committed', cause: 'tool', changedFiles: 1, sizeBytes: 1, durationMs: 1 } as const
  made.add({ ...commit, checkpoint: 'sha256:a', toolIds: ['toolu_1', 'toolu_2'] })
  made.finished(late, 'Write', 'ok').add({ ...commit, checkpoint: 'sha256:b', toolIds: ['toolu_3'] })
  made
    .bash('ls', 'x')
    .bash('false', '', 1)
    .add({ ...commit, checkpoint: 'sha256:c', cause: 'run' })
  const record = recordOf(made.turnEnds().end().events)
  const at = (from: string) => replayPoint(record, from)
  expect(at('1')).toEqual({ toolId: 'toolu_1', checkpoint: null, callsBetween: 0 })
  expect(at('toolu_2')).toEqual({ toolId: 'toolu_2', checkpoint: null, callsBetween: 1 })
  expect(at('u_3')).toEqual({ toolId: 'toolu_3', checkpoint: 'sha256:a', callsBetween: 0 })
  expect(at('4')).toEqual({ toolId: 'toolu_4', checkpoint: 'sha256:b', callsBetween: 0 })
  expect(at('5')).toEqual({ toolId: 'toolu_5', checkpoint: 'sha256:b', callsBetween: 1 })
  expect([at('0'), at('6'), at('toolu_'), at('')]).toEqual([undefined, undefined, undefined, undefined])
})
