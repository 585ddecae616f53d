import fc from 'fast-check'
import { expect, test } from 'vitest'
import { descendants, runawayOf, type Weighed } from './runaway.js'

const MiB = 1024 ** 2
const agentPid = 100
const of = (pid: number, parentPid: number, megabytes: number, grew = 0): Weighed => ({
  pid,
  parentPid,
  rssBytes: megabytes * MiB,
  grewBytes: grew * MiB,
})
const agent = of(agentPid, 1, 200)
const ended = (...processes: Weighed[]): number[] | undefined =>
  runawayOf(processes, agentPid)?.all.map(({ pid }) => pid)

test('one process with most of the memory of its call is ended alone, with what it had started', () => {
  expect(ended(agent, of(2, agentPid, 3), of(3, 2, 600, 600), of(4, 3, 5), of(5, 2, 10))).toEqual([3, 4])
})

test('many of one size are ended with the call that they belong to', () => {
  expect(ended(agent, of(2, agentPid, 3), of(3, 2, 80, 80), of(4, 2, 80, 80), of(5, 2, 80, 80))).toEqual([2, 3, 4, 5])
})

test('what grows is to blame, not what was large before', () => {
  expect(ended(agent, of(2, agentPid, 400, 0), of(3, agentPid, 300, 250))).toEqual([3])
})

test('an agent is to blame only where nothing else of weight is there', () => {
  expect(ended(of(agentPid, 1, 900, 800), of(2, agentPid, 20, 20))).toEqual([agentPid])
  expect(ended(of(agentPid, 1, 300, 200), of(2, agentPid, 250, 250))).toEqual([2])
})

test('what an earlier call has left running counts as a tree of its own', () => {
  const left = [of(7, 1, 500, 400), of(8, 7, 1)]
  expect(runawayOf([agent, ...left, of(2, agentPid, 3)], agentPid)).toMatchObject({ main: left[0], isAgent: false })
})

test('whatever the processes claim of their parents: one that is there is blamed, and an agent alone or not at all', () => {
  const some = fc.record({
    pid: fc.integer({ min: 90, max: 120 }),
    parentPid: fc.integer({ min: 90, max: 120 }),
    rssBytes: fc.integer({ min: 0, max: 2 ** 40 }),
    grewBytes: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  })
  fc.assert(
    fc.property(fc.uniqueArray(some, { selector: ({ pid }) => pid, maxLength: 20 }), (processes) => {
      const found = runawayOf(processes, agentPid)
      if (!found) return
      expect(processes).toEqual(expect.arrayContaining([...found.all]))
      expect(found.all).toContain(found.main)
      if (found.isAgent) expect(found.all.map(({ pid }) => pid)).toEqual([agentPid])
      expect(new Set(descendants(found.main, processes)).size).toBeLessThanOrEqual(processes.length)
    }),
  )
})
