import { expect, test } from 'vitest'
import { MemoryTrack } from './memory-track.js'

const MiB = 1024 ** 2
const at = (ms: number): number => Date.parse('2026-01-02T03:04:05.000Z') + ms

test('a point a second, and one at once where it jumps', () => {
  const track = new MemoryTrack()
  for (const [ms, mebibytes] of [
    [0, 100],
    [100, 101],
    [900, 102],
    [1_000, 103],
    [1_010, 200],
    [1_060, 200],
    [1_100, 201],
  ] as const)
    expect(track.add(at(ms), mebibytes * MiB, 512 * MiB)).toBeUndefined()
  expect(track.take()).toEqual({
    type: 'sandbox.memory',
    since: '2026-01-02T03:04:05.000Z',
    limitBytes: 512 * MiB,
    points: [
      { afterMs: 0, bytes: 100 * MiB },
      { afterMs: 1_000, bytes: 103 * MiB },
      { afterMs: 1_060, bytes: 200 * MiB },
    ],
  })
  expect(track.take()).toBeUndefined()
})

test('an event a minute, however often it is looked', () => {
  const track = new MemoryTrack()
  const told = Array.from({ length: 10_000 }, (_, tick) => track.add(at(tick * 50), MiB, MiB)).filter(Boolean)
  expect(told.map((event) => event!.points.length)).toEqual(Array.from({ length: 8 }, () => 60))
})

test('a clock that is set back goes on from there', () => {
  const track = new MemoryTrack()
  track.add(at(10_000), MiB, MiB)
  track.add(at(0), MiB, MiB)
  expect(track.take()!.points.map(({ afterMs }) => afterMs)).toEqual([0, 0])
})
