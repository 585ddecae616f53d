import { expect, test } from 'vitest'
import { culprit } from './disk-guard.js'

const mebibyte = 1024 ** 2

test('on a short disk the sandbox that grows most is the one to end', () => {
  const growth = [
    ['large and still', 0],
    ['growing', 20 * mebibyte],
    ['growing most', 300 * mebibyte],
    ['shrinking', -500 * mebibyte],
  ] as const
  expect(culprit(new Map(growth))).toBe('growing most')
})

test('none is ended when something else fills the disk', () => {
  expect(culprit(new Map([['writing a log', mebibyte]]))).toBeUndefined()
  expect(culprit(new Map())).toBeUndefined()
})
