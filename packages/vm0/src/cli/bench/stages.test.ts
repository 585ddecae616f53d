import { noTimings } from '@vm0/contract/client'
import { expect, test } from 'vitest'
import { addRun, figureLines, figuresOf, percentile, type Samples } from './stages.js'

test('percentiles are values that were measured, by nearest rank', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)
  expect([0.5, 0.95, 0.99, 1].map((share) => percentile(hundred, share))).toEqual([50, 95, 99, 100])
  expect(percentile([7], 0.99)).toBe(7)
})

test('a stage that a run has not had is not counted', () => {
  const samples: Samples = new Map()
  addRun(samples, { ...noTimings, queuedMs: 4, firstModelRequestMs: 50 }, 70)
  addRun(samples, { ...noTimings, queuedMs: 6 }, undefined)
  expect(figuresOf(samples).map(({ stage, p50Ms, samples: count }) => [stage, p50Ms, count])).toEqual([
    ['placed on a runner', 4, 2],
    ['first model request', 50, 1],
    ['first token seen here', 70, 1],
  ])
  expect(figureLines('new session', figuresOf(samples))[1]).toBe(
    '  placed on a runner                             4       6       6',
  )
})
