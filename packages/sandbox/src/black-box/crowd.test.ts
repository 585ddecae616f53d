import { expect, test } from 'vitest'
import { Crowd } from './crowd.js'
import type { ProcessEnd } from './exits/index.js'
import { ProcessTable } from './process-table.js'

function table(ends: readonly Partial<ProcessEnd>[]): ProcessTable {
  const made = new ProcessTable()
  const whole = {
    parentPid: 1,
    uid: 1,
    startedAtS: 10,
    cpuMs: 0,
    waitedMs: 0,
    peakRssBytes: 0,
    readBytes: 0,
    writtenBytes: 0,
  }
  for (const [index, end] of ends.entries())
    made.ended({ ...whole, pid: 100 + index, name: 'x', durationMs: 1, exitCode: 0, signal: null, ...end }, 12_000)
  return made
}

test('a bomb that was over before anybody looked: what was there longest is told, not what came and went', () => {
  const bomb = Array.from({ length: 60 }, () => ({ name: 'python3', durationMs: 1_500 }))
  const short = Array.from({ length: 200 }, () => ({ name: 'true', durationMs: 1 }))
  const [entry, alike] = new Crowd().most(table([...short, ...bomb]), 64, 12_000, 11_000)
  expect([entry!.command, alike]).toEqual(['[python3]', 60])
})

test('of a time in which nothing has ended there is nothing to tell', () => {
  expect(new Crowd().most(table([{ durationMs: 5 }, {}]), 64, 99_000, 98_000)).toEqual([undefined, 0])
})

test('a sandbox is crowded from three quarters of its limit on', () => {
  const crowd = new Crowd()
  const made = table([])
  expect(crowd.look(made, 64, 1)).toBe(false)
  made.update(
    Array.from({ length: 48 }, () => process.pid),
    1,
  )
  expect(crowd.look(made, 64, 1)).toBe(true)
  expect(crowd.look(made, 0, 1)).toBe(false)
  made.update([], 2)
  expect(crowd.most(made, 64, 2, 2)[0]!.pid).toBe(process.pid)
  expect(crowd.most(made, 64, 60_000, 60_000)[0]).toBeUndefined()
})
