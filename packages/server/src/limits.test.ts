import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RequestRate, defaultLimits, take, type Bucket } from './limits.js'

const limitsOf = fc.record({
  requestsPerSecond: fc.integer({ min: 1, max: 1_000 }),
  requestBurst: fc.integer({ min: 1, max: 100 }),
})
const pauses = fc.array(fc.integer({ min: 0, max: 2_000 }), { minLength: 1, maxLength: 300 })

test('in no stretch of time pass more requests than the burst and what the rate gives meanwhile', () => {
  fc.assert(
    fc.property(limitsOf, pauses, (limits, pausesMs) => {
      let bucket: Bucket | undefined
      let nowMs = 0
      const passed: number[] = []
      for (const pauseMs of pausesMs) {
        nowMs += pauseMs
        const taken = take(bucket, limits, nowMs)
        bucket = taken.bucket
        if (taken.waitMs === 0) passed.push(nowMs)
      }
      for (let first = 0; first < passed.length; first++)
        for (let last = first; last < passed.length; last++) {
          const allowed = limits.requestBurst + ((passed[last]! - passed[first]!) / 1000) * limits.requestsPerSecond
          expect(last - first + 1).toBeLessThanOrEqual(allowed + 1e-6)
        }
    }),
  )
})

test('whoever waits as long as is told passes, and a clock that goes back gives nothing', () => {
  fc.assert(
    fc.property(limitsOf, pauses, (limits, pausesMs) => {
      let bucket: Bucket | undefined
      let nowMs = 1_000_000
      for (const pauseMs of pausesMs) {
        const taken = take(bucket, limits, nowMs)
        bucket = taken.bucket
        if (taken.waitMs > 0) {
          expect(take(bucket, limits, nowMs - pauseMs).waitMs).toBeGreaterThan(0)
          nowMs += taken.waitMs
          const next = take(bucket, limits, nowMs)
          expect(next.waitMs).toBe(0)
          bucket = next.bucket
        }
      }
    }),
  )
})

test('each key has a bucket of its own', () => {
  const rate = new RequestRate({ ...defaultLimits, requestsPerSecond: 1, requestBurst: 2 })
  expect([rate.take('a', 0), rate.take('a', 0), rate.take('a', 0), rate.take('b', 0)]).toEqual([0, 0, 1000, 0])
})
