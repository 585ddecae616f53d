import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isPressing } from './pressing.js'

test('who was told of nine tenths is told again only after there was room', () => {
  const told: number[] = []
  let was = false
  for (const used of [0, 89, 90, 95, 85, 91, 100, 79, 89, 92]) {
    const is = isPressing(used, 100, was)
    if (is && !was) told.push(used)
    was = is
  }
  expect(told).toEqual([90, 92])
})

test('what is full is always told, and what is empty never', () => {
  const total = fc.integer({ min: 1, max: 2 ** 40 })
  fc.assert(
    fc.property(total, fc.boolean(), (bytes, was) => isPressing(bytes, bytes, was) && !isPressing(0, bytes, was)),
  )
})
