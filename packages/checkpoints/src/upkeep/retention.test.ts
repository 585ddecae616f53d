import fc from 'fast-check'
import { expect, test } from 'vitest'
import { expiredCheckpoints, type DatedCheckpoint, type RetentionPolicy } from './retention.js'

const hourMs = 3_600_000
const now = Date.UTC(2026, 5, 30, 12)
const policy: RetentionPolicy = { last: 1, daily: 0, monthly: 0, minAgeMs: hourMs }
const at = (id: string, date: string, name: string | null = null): DatedCheckpoint => ({
  id,
  createdAtMs: Date.parse(`${date}Z`),
  name,
})

const history = [
  at('now', '2026-06-30T11:59'),
  at('noon', '2026-06-30T10:00'),
  at('morning', '2026-06-30T08:00'),
  at('yesterday', '2026-06-29T20:00'),
  at('named', '2026-06-29T10:00', 'before the move'),
  at('week', '2026-06-23T10:00'),
  at('may', '2026-05-31T23:59'),
  at('early may', '2026-05-01T00:00'),
  at('winter', '2026-01-15T00:00'),
]

test.each<[string, Partial<RetentionPolicy>, string[]]>([
  ['the last two', { last: 2 }, ['morning', 'yesterday', 'week', 'may', 'early may', 'winter']],
  ['one a day for three days that have any', { daily: 3 }, ['noon', 'morning', 'may', 'early may', 'winter']],
  ['one a month for two months', { monthly: 2 }, ['noon', 'morning', 'yesterday', 'week', 'early may', 'winter']],
  ['a day and months together', { daily: 2, monthly: 9 }, ['noon', 'morning', 'week', 'early may']],
  ['what is younger than its least age', { minAgeMs: 24 * hourMs }, ['week', 'may', 'early may', 'winter']],
  ['all', { last: 100 }, []],
])('%s and what has a name stay', (_what, change, gone) => {
  expect(expiredCheckpoints(history, { ...policy, ...change }, now)).toEqual(gone)
})

test('whatever the policy: names, the newest and the young stay, more to keep lets less go, and a second look lets nothing go', () => {
  const checkpoint = fc.record({ ageMs: fc.nat(500 * 24 * hourMs), name: fc.option(fc.constant('n'), { freq: 9 }) })
  const policies = fc.record({
    last: fc.integer({ min: 1, max: 20 }),
    daily: fc.nat(20),
    monthly: fc.nat(20),
    minAgeMs: fc.nat(48 * hourMs),
  })
  fc.assert(
    fc.property(fc.array(checkpoint, { maxLength: 80 }), policies, fc.nat(5), (given, chosen, more) => {
      const all = given
        .toSorted((a, b) => a.ageMs - b.ageMs)
        .map(({ ageMs, name }, index) => ({ id: String(index), createdAtMs: now - ageMs, name }))
      const gone = new Set(expiredCheckpoints(all, chosen, now))
      for (const each of all.filter(({ id }) => gone.has(id))) {
        expect(each.name).toBeNull()
        expect(now - each.createdAtMs).toBeGreaterThanOrEqual(chosen.minAgeMs)
      }
      for (const { id } of all.slice(0, chosen.last)) expect(gone.has(id)).toBe(false)
      const rest = all.filter(({ id }) => !gone.has(id))
      expect(expiredCheckpoints(rest, chosen, now)).toEqual([])
      const larger = { ...chosen, last: chosen.last + more, daily: chosen.daily + more }
      for (const id of expiredCheckpoints(all, larger, now)) expect(gone.has(id)).toBe(true)
    }),
  )
})
