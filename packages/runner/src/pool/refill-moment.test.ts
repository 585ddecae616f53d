import fc from 'fast-check'
import { expect, test } from 'vitest'
import { refillDelayMs } from './refill-moment.js'

const moment = { nowMs: 10_000, startedMs: -Infinity, heldSinceMs: undefined, isEmpty: false }

test('a refill begins at once where no run was started, or none lately', () => {
  expect(refillDelayMs(moment)).toBe(0)
  expect(refillDelayMs({ ...moment, startedMs: 9_000 })).toBe(0)
})

test('it waits while runs have just been started', () => {
  expect(refillDelayMs({ ...moment, startedMs: 9_900 })).toBe(400)
  expect(refillDelayMs({ ...moment, startedMs: 9_900, heldSinceMs: 8_000 })).toBe(400)
})

test('on a host that is never quiet it begins all the same: within 3 s, or half a second where nothing is left', () => {
  const gaps = fc.array(fc.integer({ min: 1, max: 499 }), { minLength: 3_001, maxLength: 3_001 })
  fc.assert(
    fc.property(gaps, fc.boolean(), (starts, isEmpty) => {
      const begins = (): number => {
        for (let nowMs = 0, index = 0; ; nowMs += starts[index++] as number) {
          const delay = refillDelayMs({ nowMs, startedMs: nowMs, heldSinceMs: 0, isEmpty })
          if (delay < (starts[index] as number)) return nowMs + delay
        }
      }
      expect(begins()).toBeLessThanOrEqual(isEmpty ? 500 : 3_000)
      expect(begins()).toBeGreaterThan(0)
    }),
    { numRuns: 50 },
  )
})
