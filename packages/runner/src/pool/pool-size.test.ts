import fc from 'fast-check'
import { expect, test } from 'vitest'
import { defaultPoolLimits, learnMs, poolSize, poolSizes, type KindDemand } from './pool-size.js'

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

const kind = (arrivalsMs: number[], learned = true): KindDemand => ({ learned, arrivalsMs, nowMs: 1e6, refillMs: 1000 })

test('a kind that was asked for twice has one of its own for ten minutes; once is no habit', () => {
  const sizes = (arrivalsMs: number[]) => poolSizes([kind([], false), kind(arrivalsMs)], limits)
  expect(sizes([1e6 - 1])).toEqual([1, 0])
  expect(sizes([1e6 - learnMs + 1, 1e6 - 100_000])).toEqual([1, 1])
  expect(sizes([1e6 - learnMs - 1, 1e6 - 100_000])).toEqual([1, 0])
})

test('where there is room for few, what is always kept comes first, then what was asked for last', () => {
  const older = kind([1e6 - 300_000, 1e6 - 200_000])
  const newer = kind([1e6 - 300_000, 1e6 - 100_000])
  const sizes = (max: number) => poolSizes([kind([], false), older, newer], { ...limits, max })
  expect([0, 1, 2, 3, 9].map(sizes)).toEqual([
    [0, 0, 0],
    [1, 0, 0],
    [1, 0, 1],
    [1, 1, 1],
    [1, 1, 1],
  ])
})

test('never more than the most in all, and room that one kind needs is not left empty', () => {
  const demand = fc.array(fc.integer({ min: 1e6 - 700_000, max: 1e6 }), { maxLength: 60 })
  fc.assert(
    fc.property(demand, fc.array(demand, { maxLength: 5 }), fc.nat(12), (always, learned, max) => {
      const sorted = (times: number[]) => times.toSorted((a, b) => a - b)
      const kinds = [kind(sorted(always), false), ...learned.map((times) => kind(sorted(times)))]
      const bounds = { ...limits, max }
      const sizes = poolSizes(kinds, bounds)
      const sum = sizes.reduce((total, size) => total + size, 0)
      expect(sum).toBeLessThanOrEqual(max)
      const alone = kinds.map((each) => poolSizes([each], bounds)[0]!)
      for (const [index, size] of sizes.entries()) expect(size).toBeLessThanOrEqual(alone[index]!)
      if (sum < max) expect(sizes).toEqual(alone)
      expect(sizes[0]).toBeGreaterThanOrEqual(Math.min(bounds.min, max))
    }),
  )
})
