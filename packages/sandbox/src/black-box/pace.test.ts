import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryCurve } from './memory-curve.js'
import { pauseMs } from './pace.js'

const quiet = { cpuShare: 0, memoryShare: 0.1, growth: 0, leftBytes: 1e9, held: false }

test('a look a second while nothing happens, more where something does, most where memory runs short', () => {
  expect(pauseMs(quiet)).toBe(1_000)
  expect(pauseMs({ ...quiet, cpuShare: 0.5 })).toBe(250)
  expect(pauseMs({ ...quiet, memoryShare: 0.9 })).toBe(50)
  expect(pauseMs({ ...quiet, growth: 2e6, leftBytes: 1e9 })).toBe(50)
  expect(pauseMs({ ...quiet, growth: -2e6 })).toBe(1_000)
  expect(pauseMs({ ...quiet, held: true })).toBe(20)
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
