import fc from 'fast-check'
import { expect, test } from 'vitest'
import { defaultPoolLimits, poolSize } from './pool-size.js'

const limits = { ...defaultPoolLimits, max: 50 }
const every = (gapMs: number, count: number, endMs: number) =>
  Array.from({ length: count }, (_, index) => endMs - (count - 1 - index) * gapMs)

test('nobody asks: the least is kept, which may be nothing', () => {
  expect(poolSize({ arrivalsMs: [], nowMs: 1e6, refillMs: 1000 }, limits)).toBe(1)
  expect(poolSize({ arrivalsMs: [1], nowMs: 1e6, refillMs: 1000 }, { ...limits, min: 0 })).toBe(0)
})

test('steady traffic: enough that a miss is rare, no more', () => {
  const size = (gapMs: number) =>
    poolSize({ arrivalsMs: every(gapMs, 60_000 / gapMs, 60_000), nowMs: 60_000, refillMs: 1000 }, limits)
  expect(size(10_000)).toBeLessThanOrEqual(3)
  expect(size(1000)).toBeGreaterThanOrEqual(4)
  expect(size(1000)).toBeLessThanOrEqual(6)
  expect(size(100)).toBeGreaterThanOrEqual(17)
  expect(size(100)).toBeLessThanOrEqual(22)
})

test('a burst counts though the minute was quiet', () => {
  const burst = every(10, 20, 59_000)
  const spread = every(3000, 20, 59_000)
  const demand = { nowMs: 60_000, refillMs: 1000 }
  expect(poolSize({ arrivalsMs: burst, ...demand }, limits)).toBeGreaterThan(
    poolSize({ arrivalsMs: spread, ...demand }, limits) + 5,
  )
})

test('it stays within its limits, and never falls when somebody more asks', () => {
  const arrivals = fc.array(fc.integer({ min: 0, max: 60_000 }), { maxLength: 200 })
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 1, max: 20_000 }), fc.nat(4), fc.nat(30), (times, refillMs, min, extra) => {
      const bounds = { ...defaultPoolLimits, min, max: min + extra }
      const arrivalsMs = times.toSorted((a, b) => a - b)
      const size = poolSize({ arrivalsMs, nowMs: 60_000, refillMs }, bounds)
      expect(size).toBeGreaterThanOrEqual(bounds.min)
      expect(size).toBeLessThanOrEqual(bounds.max)
      const one = [...arrivalsMs, 60_000]
      expect(poolSize({ arrivalsMs: one, nowMs: 60_000, refillMs }, bounds)).toBeGreaterThanOrEqual(size)
    }),
  )
})
