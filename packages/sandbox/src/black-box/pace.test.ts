import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryCurve } from './memory-curve.js'
import { pauseMs } from './pace.js'
import { Starvation } from './starvation.js'

const quiet = { cpuShare: 0, memoryShare: 0.1, growth: 0, leftBytes: 1e9, held: false }

test('a look a second while nothing happens, more where something does, most where memory runs short', () => {
  expect(pauseMs(quiet)).toBe(1_000)
  expect(pauseMs({ ...quiet, cpuShare: 0.5 })).toBe(250)
  expect(pauseMs({ ...quiet, memoryShare: 0.9 })).toBe(50)
  expect(pauseMs({ ...quiet, growth: 2e6, leftBytes: 1e9 })).toBe(50)
  expect(pauseMs({ ...quiet, growth: -2e6 })).toBe(1_000)
  expect(pauseMs({ ...quiet, held: true })).toBe(20)
})

test('going without CPU time is told once, after half a minute of it, and of nothing shorter', () => {
  const starvation = new Starvation()
  const at = (throttledMs: number) => ({ throttledMs, periods: 0, throttledPeriods: 0 })
  const told = (throttled: (second: number) => number): (number | undefined)[] =>
    Array.from({ length: 120 }, (_, second) => starvation.share(second * 1000, at(throttled(second) * 1000))).filter(
      Boolean,
    )
  expect(told((second) => second * 0.8)).toEqual([0.8])
  starvation.reset()
  expect(starvation.share(0, at(0))).toBeUndefined()
  expect(starvation.share(8_000, at(7_000))).toBeUndefined()
  expect(starvation.share(9_000, at(7_200), true)).toBe(0.8)
  starvation.reset()
  expect(starvation.share(0, at(0))).toBeUndefined()
  expect(starvation.share(4_000, at(4_000), true)).toBeUndefined()
  starvation.reset()
  expect(starvation.share(0, at(0))).toBeUndefined()
  expect(starvation.share(6_000, at(0))).toBeUndefined()
  expect(starvation.share(12_000, at(5_000), true)).toBe(0.83)
  // It used its time up in nearly every period, and had to wait for others too.
  const often = (seconds: number, share: number) => ({
    throttledMs: seconds * 1000 * share,
    periods: seconds * 10,
    throttledPeriods: Math.round(seconds * 9.5),
  })
  starvation.reset()
  expect(starvation.share(0, often(0, 0))).toBeUndefined()
  expect(starvation.share(9_000, often(9, 0.2), true)).toBeUndefined()
  expect(starvation.share(10_000, often(10, 0.45), true)).toBe(0.45)
  starvation.reset()
  expect(told((second) => second * 0.5)).toEqual([])
  starvation.reset()
  expect(told((second) => Math.min(second, 15))).toEqual([])
})

test('whatever the memory did, the curve is bounded, in order, and has the highest point', () => {
  const steps = fc.array(fc.record({ afterMs: fc.integer({ min: 0, max: 5_000 }), bytes: fc.nat(2 ** 40) }), {
    minLength: 1,
    maxLength: 500,
  })
  fc.assert(
    fc.property(steps, (all) => {
      const curve = new MemoryCurve()
      let atMs = 0
      for (const { afterMs, bytes } of all) curve.add((atMs += afterMs), bytes)
      const shown = curve.shown(atMs)
      expect(shown.length).toBeLessThanOrEqual(60)
      expect(shown).toEqual(shown.toSorted((a, b) => b.beforeMs - a.beforeMs))
      expect(shown.every(({ beforeMs }) => beforeMs >= 0 && beforeMs <= 300_000)).toBe(true)
    }),
  )
})
