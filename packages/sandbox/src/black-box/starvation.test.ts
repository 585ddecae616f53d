import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lackedShare, Starvation, type CpuFigures } from './starvation.js'

const none: CpuFigures = {
  throttledMs: 0,
  periods: 0,
  throttledPeriods: 0,
  cpus: 2,
  cpuMs: 0,
  waitedMs: 0,
  longestWaitMs: 0,
}
type PerSecond = Partial<CpuFigures>

/** What is told of a sandbox whose counters rise by so much a second, and each time in which second. */
function told(seconds: number, perSecond: (second: number) => PerSecond, isOver = false) {
  const starvation = new Starvation(4)
  const sum = { ...none }
  const all = []
  for (let second = 0; second <= seconds; second += 1) {
    const found = starvation.next(second * 1000, sum, isOver && second === seconds)
    if (found) all.push({ second, ...found })
    const { cpus, ...rises } = perSecond(second)
    rises.longestWaitMs ??= rises.waitedMs ?? 0
    sum.cpus = cpus ?? sum.cpus
    for (const [name, by] of Object.entries(rises)) sum[name as keyof CpuFigures] += by
  }
  return all
}

test('time that its own limit took is told once, after half a minute of it, and of nothing shorter', () => {
  expect(told(120, () => ({ throttledMs: 800 }))).toMatchObject([{ second: 30, by: 'limit', share: 0.8 }])
  expect(told(120, () => ({ throttledMs: 500 }))).toEqual([])
  expect(told(120, (second) => ({ throttledMs: second < 15 ? 1000 : 0 }))).toEqual([])
})

test('a run that is over sooner is judged by its last half, from five seconds on', () => {
  expect(told(9, () => ({ throttledMs: 800 }), true)).toMatchObject([{ share: 0.8 }])
  expect(told(4, () => ({ throttledMs: 1000 }), true)).toEqual([])
  expect(told(12, (second) => ({ throttledMs: second < 6 ? 0 : 830 }), true)).toMatchObject([{ share: 0.83 }])
})

test('who uses its time up in nearly every period and waits for others too is kept back by its own limit', () => {
  const often = (throttledMs: number) => () => ({ throttledMs, periods: 10, throttledPeriods: 9.5 })
  expect(told(9, often(200), true)).toEqual([])
  expect(told(10, often(450), true)).toMatchObject([{ by: 'limit', share: 0.45 }])
})

test('where others leave it most of the little that it may have, it is its limit that keeps it back', () => {
  const little = { cpus: 0.03, cpuMs: 20, waitedMs: 3_000, throttledMs: 200, periods: 10, throttledPeriods: 5 }
  expect(told(9, () => little, true)).toMatchObject([{ by: 'limit', share: 1, usedCpus: 0.02, allowedCpus: 0.03 }])
  expect(told(9, () => ({ ...little, cpuMs: 5 }), true)).toMatchObject([{ by: 'others' }])
})

test('CPU time that others had is told with what it used, could have used and waited', () => {
  expect(told(40, () => ({ cpuMs: 200, waitedMs: 1_500 }))).toEqual([
    {
      second: 30,
      by: 'others',
      share: 1,
      overMs: 30_000,
      usedCpus: 0.2,
      allowedCpus: 2,
      waitingTasks: 1.5,
      hostCpus: 4,
    },
  ])
  expect(told(8, () => ({ cpuMs: 100, waitedMs: 900 }), true)).toMatchObject([{ by: 'others', share: 0.9 }])
})

test.each<[string, PerSecond]>([
  ['its tasks wait for each other', { cpuMs: 2_000, waitedMs: 6_000 }],
  ['it has used up its own time', { cpus: 0.1, cpuMs: 98, waitedMs: 3_000, throttledMs: 200 }],
  ['it needs little of a CPU', { cpuMs: 20, waitedMs: 80 }],
  ['others leave it half', { cpuMs: 1_000, waitedMs: 1_000 }],
  ['the host has not more CPUs', { cpus: Infinity, cpuMs: 3_990, waitedMs: 40_000 }],
  ['nothing runs in it', {}],
])('nobody has taken its time where %s', (_why, perSecond) => {
  expect(told(60, () => perSecond)).toEqual([])
})

test('many tasks that waited for a part of the time only are no half minute of waiting', () => {
  const half = (second: number) => (second % 2 === 0 ? { cpuMs: 50, waitedMs: 12_000 } : {})
  expect(told(60, half)).toEqual([])
  expect(told(12, (second) => (second < 6 ? { cpuMs: 50, waitedMs: 12_000 } : { cpuMs: 1 }), true)).toEqual([])
})

test('threads of a process that wait at the same time are no longer waiting', () => {
  expect(told(60, () => ({ cpuMs: 50, waitedMs: 3_000, longestWaitMs: 300 }))).toEqual([])
  expect(told(60, () => ({ cpuMs: 50, waitedMs: 3_000, longestWaitMs: 700 }))).toMatchObject([{ share: 0.7 }])
})

test('a limit that is told is the whole account: that others are busy too is not told on top', () => {
  const both = told(90, (second) => (second < 40 ? { throttledMs: 900 } : { cpuMs: 100, waitedMs: 4_000 }))
  expect(both.map(({ by }) => by)).toEqual(['limit'])
})

test('whatever the counters say, what is lacked is a share, and none where nothing waited or all that it may have is used', () => {
  const cpus = fc.double({ min: 0.01, max: 512, noNaN: true })
  const tasks = fc.double({ min: 0, max: 1e5, noNaN: true })
  fc.assert(
    fc.property(cpus, tasks, tasks, (allowedCpus, usedCpus, waitingTasks) => {
      const share = lackedShare({ usedCpus, waitingTasks, allowedCpus })
      expect(share).toBeGreaterThanOrEqual(0)
      expect(share).toBeLessThanOrEqual(1)
      if (usedCpus >= allowedCpus || waitingTasks === 0) expect(share).toBe(0)
    }),
  )
})
