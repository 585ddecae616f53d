import type { ResourceFigures } from '@vm0/sandbox'
import { expect, test } from 'vitest'
import { ResourceLines } from './resource-lines.js'

const MiB = 1024 ** 2
const calm: ResourceFigures = {
  atMs: 0,
  memoryBytes: 100 * MiB,
  limitBytes: 1000 * MiB,
  throttledMs: 0,
  pressure: null,
}
const told = (figures: Partial<ResourceFigures>[]): string[] => {
  const lines = new ResourceLines()
  return figures.flatMap((each, index) => lines.next({ ...calm, atMs: index * 1000, ...each }).map(({ text }) => text))
}

test('memory is told of when it gets short and when it is not any more, not in between', () => {
  const bytes = [100, 840, 850, 900, 860, 840, 760, 700, 690, 500, 849, 990]
  expect(told(bytes.map((each) => ({ memoryBytes: each * MiB })))).toEqual([
    '850 MiB of 1000 MiB of memory are used',
    '690 MiB of 1000 MiB of memory are used: no longer short',
    '990 MiB of 1000 MiB of memory are used',
  ])
})

test('CPU time that is waited for is summed over five seconds; one that begins anew counts from there', () => {
  const throttled = [0, 900, 1800, 2700, 3600, 4500, 4500, 4500, 4500, 4500, 4600, 10, 20, 20, 20, 20, 20]
  expect(told(throttled.map((throttledMs) => ({ throttledMs })))).toEqual([
    'waited for CPU time in 90% of the last 5 s',
    'waited for CPU time in 2% of the last 5 s: no longer short',
  ])
})

test('stalls are told where the kernel tells them', () => {
  const of = (some: number): Partial<ResourceFigures> => {
    const none = { some: 0, full: 0 }
    return { pressure: { memory: { some, full: 0 }, cpu: none, io: none } }
  }
  expect(told([of(0), of(19), of(21), of(6), of(4), {}])).toEqual([
    'tasks waited for memory in 21% of the last 10 s',
    'tasks waited for memory in 4% of the last 10 s: no longer short',
  ])
})
