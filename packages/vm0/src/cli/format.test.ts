import { expect, test } from 'vitest'
import { byteCount, count, duration, shortId, table } from './format.js'

test.each([
  [null, '-'],
  [0.4, '0 ms'],
  [57.2, '57 ms'],
  [999.4, '999 ms'],
  [999.6, '1.0 s'],
  [3240, '3.2 s'],
  [9949, '9.9 s'],
  [9950, '10 s'],
  [41_000, '41 s'],
  [59_499, '59 s'],
  [59_500, '1 min 0 s'],
  [125_000, '2 min 5 s'],
])('%s ms is shown as %s', (ms, shown) => {
  expect(duration(ms)).toBe(shown)
})

test('ids are short by their end, digests by their beginning', () => {
  expect(shortId('019aaaaa-0000-7000-8000-00009f3c1e70')).toBe('9f3c1e70')
  expect(shortId(`sha256:4be2a911${'0'.repeat(56)}`)).toBe('4be2a911')
  expect(shortId('-')).toBe('-')
})

test('a table has columns as wide as their widest cell, and shows no control characters', () => {
  expect(
    table([
      ['A', 'B'],
      ['long', 'x\u001B[2J'],
      ['', ''],
    ]),
  ).toBe('A     B\nlong  x\n\n')
  expect([count(1, 'file'), count(2, 'file'), count(0, 'run')]).toEqual(['1 file', '2 files', '0 runs'])
})

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1_572_864, '1.5 MiB'],
  [2 ** 50, '1024.0 TiB'],
])('%s bytes are shown as %s', (bytes, shown) => {
  expect(byteCount(bytes)).toBe(shown)
})
