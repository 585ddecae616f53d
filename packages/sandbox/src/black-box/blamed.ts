import { setTimeout as wait } from 'node:timers/promises'
import { lastOutputOf } from './last-output.js'
import { grownBy, openFilesOf, statOf, type ProcessEntry, type ProcessTable } from './process-table.js'
import { runawayOf } from './runaway.js'
import { shownProcess } from './scenes.js'
import type { MemoryLimitMet } from './types.js'

const endedWithinMs = 3_000
const maxAncestors = 50

/** Who has used up a sandbox's memory, with what is known of it, and how to end it. `initPid`: never to be ended. */
export function blamedFor(
  table: ProcessTable,
  initPid: number,
  agentPid: number | undefined,
): Pick<MemoryLimitMet, 'blamed' | 'stop'> {
  const weighed = table.processes
    .filter(({ pid }) => pid !== initPid)
    .map((entry) => ({ ...entry, grewBytes: grownBy(entry) }))
  const runaway = runawayOf(weighed, agentPid)
  if (!runaway) return { blamed: undefined, stop: () => Promise.resolve() }
  const { main, all, rssBytes, isAgent } = runaway
  return {
    blamed: {
      process: shownProcess(main, Date.now()),
      processes: all.length,
      rssBytes,
      isAgent,
      openFiles: openFilesOf(main.pid),
      lastOutput: lastOutputOf(main.pid),
      startedAtMs: Math.min(...all.map(({ startedAtMs }) => startedAtMs)),
      commands: ancestry(main, table, agentPid),
    },
    stop: () => end(all),
  }
}

/** The commands from the process up to the agent or the first one. */
function ancestry(entry: ProcessEntry, table: ProcessTable, agentPid: number | undefined): string[] {
  const commands: string[] = []
  for (let at: ProcessEntry | undefined = entry; at && commands.length < maxAncestors; at = table.get(at.parentPid)) {
    if (at.pid === agentPid) break
    commands.push(at.command)
  }
  return commands
}

/** Resolves when they are gone: the kernel takes a moment to give a large one's memory back. */
async function end(processes: readonly ProcessEntry[]): Promise<void> {
  const deadline = performance.now() + endedWithinMs
  for (let left = processes; left.length > 0 && performance.now() < deadline; await wait(10)) {
    left = left.filter(({ pid, startTicks }) => statOf(pid)?.startTicks === startTicks)
    for (const { pid } of left)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        /* it has ended already */
      }
  }
}
