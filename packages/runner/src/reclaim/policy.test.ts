import fc from 'fast-check'
import { expect, test } from 'vitest'
import { memoryIn } from './host-memory.js'
import { nextStep, reclaimLimits, type FrozenSandbox } from './policy.js'

const limits = reclaimLimits(0.15)
const available = (share: number) => ({ totalBytes: 1000, availableBytes: share * 1000 })
const frozen = (lastUsedMs: number, more: Partial<FrozenSandbox> = {}): FrozenSandbox => ({
  lastUsedMs,
  isReclaimed: false,
  isIdle: true,
  ...more,
})

test('memory is short below the one share, and stays so until the other is reached', () => {
  const isShort = (share: number, wasShort: boolean) => nextStep(available(share), wasShort, [], limits).isShort
  expect([0.16, 0.15, 0.149].map((share) => isShort(share, false))).toEqual([false, false, true])
  expect([0.16, 0.199, 0.2].map((share) => isShort(share, true))).toEqual([true, true, false])
})

test('the sandbox that was used longest ago gives its memory back first, one that waits for a person too', () => {
  const [first, second, third] = [frozen(1, { isReclaimed: true }), frozen(2, { isIdle: false }), frozen(3)]
  expect(nextStep(available(0.1), false, [third, second, first], limits)).toEqual({ isShort: true, reclaim: second })
})

test('with nothing left to give back a session is saved and freed only where there is next to nothing', () => {
  const all = [frozen(1, { isReclaimed: true, isIdle: false }), frozen(2, { isReclaimed: true })]
  expect(nextStep(available(0.08), true, all, limits)).toEqual({ isShort: true })
  expect(nextStep(available(0.06), true, all, limits)).toEqual({ isShort: true, park: all[1] })
  expect(nextStep(available(0.06), true, all.slice(0, 1), limits)).toEqual({ isShort: true })
})

test('with the share of one every frozen sandbox gives its memory back, and none is freed for that', () => {
  const always = reclaimLimits(1)
  expect(nextStep(available(0.99), false, [frozen(1)], always).reclaim).toBeDefined()
  expect(nextStep(available(0.99), true, [frozen(1, { isReclaimed: true })], always)).toEqual({ isShort: true })
})

test('step by step it comes to an end, whatever each step gives; what is done was to be done', () => {
  const sandbox = fc.record({ lastUsedMs: fc.nat(9), isReclaimed: fc.boolean(), isIdle: fc.boolean() })
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(fc.array(sandbox, { maxLength: 8 }), share, share, fc.boolean(), (made, below, first, before) => {
      let all = made.map((each) => ({ ...each }))
      let [now, wasShort] = [first, before]
      const bounds = reclaimLimits(below)
      for (let steps = 0; ; steps++) {
        expect(steps).toBeLessThanOrEqual(2 * made.length)
        const step = nextStep(available(now), wasShort, all, bounds)
        wasShort = step.isShort
        if (!step.isShort) expect(now).toBeGreaterThanOrEqual(below)
        if (step.reclaim) {
          expect(step.reclaim.isReclaimed).toBe(false)
          step.reclaim.isReclaimed = true
        } else if (step.park) {
          expect(step.park.isIdle && all.every(({ isReclaimed }) => isReclaimed)).toBe(true)
          expect(now).toBeLessThan(bounds.parkBelow)
          all = all.filter((each) => each !== step.park)
        } else return
        now = Math.min(1, now + 0.03)
      }
    }),
  )
})

test("the host's memory is read by its names; a kernel that tells none has none", () => {
  expect(memoryIn('MemTotal:       100 kB\nMemFree: 1 kB\nMemAvailable:   40 kB\n')).toEqual({
    totalBytes: 102_400,
    availableBytes: 40_960,
  })
  expect(memoryIn('MemTotal:       100 kB\n')).toBeUndefined()
})
