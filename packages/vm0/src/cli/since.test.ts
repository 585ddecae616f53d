import { expect, test } from 'vitest'
import { parseSince } from './since.js'

const now = Date.parse('2026-03-02T12:00:00Z')

test('a time is given by how long ago it was, or by its date', () => {
  expect(parseSince('90s', now).toISOString()).toBe('2026-03-02T11:58:30.000Z')
  expect(parseSince('1.5h', now).toISOString()).toBe('2026-03-02T10:30:00.000Z')
  expect(parseSince('1d', now).toISOString()).toBe('2026-03-01T12:00:00.000Z')
  expect(parseSince('2w', now).toISOString()).toBe('2026-02-16T12:00:00.000Z')
  expect(parseSince('2026-01-31', now).toISOString()).toBe('2026-01-31T00:00:00.000Z')
})

test('what is no time is told', () => {
  for (const wrong of ['', 'yesterday', '5', 'd', '-1d', '1y', '2026-13-01', '999999999d'])
    expect(() => parseSince(wrong, now)).toThrow('is no time; expected')
})
