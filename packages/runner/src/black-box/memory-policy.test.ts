import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decideMemory, type MemoryCase } from './memory-policy.js'

const GiB = 1024 ** 3
const usual: MemoryCase = {
  policy: 'tell-agent',
  isAgent: false,
  stops: 0,
  limitBytes: 2 * GiB,
  firstLimitBytes: 2 * GiB,
  usedBytes: 2 * GiB,
  hostTotalBytes: 64 * GiB,
  hostAvailableBytes: 32 * GiB,
}
const decide = (change: Partial<MemoryCase>) => decideMemory({ ...usual, ...change })

test('what used it up is ended; the run goes on, unless that is the agent, or it comes to it again and again', () => {
  expect(decide({})).toEqual({ what: 'stop_process' })
  expect(decide({ isAgent: true })).toEqual({ what: 'stop_run' })
  expect(decide({ stops: 10 })).toEqual({ what: 'stop_run' })
  expect(decide({ policy: 'stop' })).toEqual({ what: 'stop_run' })
})

test('memory is doubled up to eight times, where the host has it; otherwise what used it up is ended', () => {
  expect(decide({ policy: 'double' })).toEqual({ what: 'raise', limitBytes: 4 * GiB })
  expect(decide({ policy: 'double', limitBytes: 8 * GiB })).toEqual({ what: 'raise', limitBytes: 16 * GiB })
  expect(decide({ policy: 'double', limitBytes: 16 * GiB })).toEqual({ what: 'stop_process' })
  expect(decide({ policy: 'double', hostAvailableBytes: 2 * GiB })).toEqual({ what: 'stop_process' })
  expect(decide({ policy: 'double', hostTotalBytes: 3 * GiB })).toEqual({ what: 'stop_process' })
  expect(decide({ policy: 'double', isAgent: true, hostTotalBytes: 3 * GiB })).toEqual({ what: 'stop_run' })
})

test('a sandbox never gets more than the host could give it', () => {
  const bytes = fc.integer({ min: 1, max: 2 ** 45 })
  fc.assert(
    fc.property(bytes, bytes, bytes, bytes, (limitBytes, usedBytes, hostTotalBytes, hostAvailableBytes) => {
      const decision = decide({ policy: 'double', limitBytes, usedBytes, hostTotalBytes, hostAvailableBytes })
      if (decision.what !== 'raise') return
      expect(decision.limitBytes).toBeLessThanOrEqual(hostTotalBytes)
      expect(decision.limitBytes - usedBytes).toBeLessThan(hostAvailableBytes)
    }),
  )
})
