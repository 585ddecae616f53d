import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ClockWatch } from './clock-watch.js'

test('a step of either direction is noticed, and counts for the time that is asked for', () => {
  let [wall, steady] = [1_000_000, 0]
  const watch = new ClockWatch(
    () => wall,
    () => steady,
  )
  const pass = (ms: number): void => {
    wall += ms
    steady += ms
  }
  expect(watch.steppedWithin(3_600_000)).toBeUndefined()
  for (const step of [6 * 3_600_000, -6 * 3_600_000]) {
    pass(60_000)
    wall += step
    expect(watch.steppedWithin(3_600_000)).toBe(step)
    pass(3_599_000)
    expect(watch.steppedWithin(3_600_000)).toBe(step)
    pass(2_000)
    expect(watch.steppedWithin(3_600_000)).toBeUndefined()
  }
})

test('time that passes, evenly or with a little drift, is no step', () => {
  const passing = fc.array(fc.record({ ms: fc.nat(86_400_000), drift: fc.integer({ min: -20_000, max: 20_000 }) }))
  fc.assert(
    fc.property(passing, (all) => {
      let [wall, steady] = [0, 0]
      const watch = new ClockWatch(
        () => wall,
        () => steady,
      )
      for (const { ms, drift } of all) {
        wall += ms + drift
        steady += ms
        expect(watch.steppedWithin(3_600_000)).toBeUndefined()
      }
    }),
  )
})
