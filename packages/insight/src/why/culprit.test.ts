import type { EventOf } from '@vm0/contract'
import { expect, test } from 'vitest'
import { recordOf } from '../record/run-record.js'
import { RunLog } from '../run-log.test.fixture.js'
import { culpritOf } from './culprit.js'

const died = { state: 'died', reason: 'out_of_memory' } as const

/** What is told of memory that was used up, when the platform did not know of which call. */
function met(ageMs: number): EventOf<'sandbox.out_of_memory'> {
  const process = { pid: 9, parentPid: 1, command: 'python3 train.py', cwd: '/workspace', ageMs, grewBytes: 0 }
  return {
    type: 'sandbox.out_of_memory',
    limitBytes: 2 ** 30,
    action: 'stopped_run',
    detected: 'held',
    victims: [],
    blamed: { process, processes: 1, rssBytes: 2 ** 29, isAgent: false, openFiles: [], lastOutput: [] },
    uncommitted: { paths: [], more: 0 },
  } as unknown as EventOf<'sandbox.out_of_memory'>
}
const calledBy = (log: RunLog): string | null | undefined => culpritOf(recordOf(log.events), died)?.toolId

test('memory whose call was told of too late is that of the only command at work', () => {
  const late = new RunLog().begin().add(met(900))
  const call = late.started('Bash', { command: 'python3 train.py' })
  expect(calledBy(late)).toBe(call)
  const early = new RunLog().begin()
  const first = early.started('Bash', { command: 'make' })
  expect(calledBy(early.add(met(900), 1000))).toBe(first)
})

test('of several at work, of one that had ended, or of a process that is older, it is nobody’s', () => {
  const two = new RunLog().begin()
  for (const command of ['make a', 'make b']) two.started('Bash', { command })
  expect(calledBy(two.add(met(5)))).toBeNull()
  const over = new RunLog().begin()
  over.finished(over.started('Bash', { command: 'make' }), 'Bash', 'done', { durationMs: 10 })
  expect(calledBy(over.add(met(5), 100))).toBeNull()
  const old = new RunLog().begin()
  old.started('Bash', { command: 'make' })
  expect(calledBy(old.add(met(60_000), 1000))).toBeNull()
})
