import { readdirSync } from 'node:fs'
import { readOnce } from '../cgroup/open-files.js'
import type { ProcessEnd } from './exits/index.js'
import type { ProcessEntry } from './process-table.js'

type Known = Pick<ProcessEntry, 'pid' | 'startTicks' | 'startedAtMs' | 'seenAtMs' | 'state' | 'threads' | 'cpuMs'>

interface Counted {
  startTicks: number
  readAtMs: number
  cpuMs: number
  threads: number
  /** Of all its threads, those that have ended meanwhile included. */
  waitedMs: number
  /** What each thread that lives had waited when it was read last. */
  tasks: ReadonlyMap<number, number>
}

/** Files read in one look. What is beyond is not counted: too little is told then, never too much. */
const maxTasks = 256

/**
 * How long the tasks of a sandbox were ready to run and had no CPU, whoever had it: the kernel's own account of each task
 * (`schedstat`), and of those that have ended (taskstats). Each read may come too late; what was waited since the last one is
 * lost then, unless the kernel tells the end.
 */
export class CpuWaits {
  private counted = new Map<number, Counted>()
  private sinceMs = 0
  /** Milliseconds that tasks have waited, together, since the last reset. */
  totalMs = 0
  /** The same, of each process only the thread that waited longest between two looks. */
  longestMs = 0

  /** From now on: what those that run already had waited before doesn't count. */
  reset(nowMs: number): void {
    this.counted.clear()
    this.sinceMs = nowMs
    this.totalMs = 0
    this.longestMs = 0
  }

  look(processes: readonly Known[], nowMs: number): void {
    const before = this.counted
    this.counted = new Map()
    let left = maxTasks
    for (const entry of processes) {
      const known = before.get(entry.pid)
      const same = known?.startTicks === entry.startTicks ? known : undefined
      if (left <= 0 || (same && isAtRest(entry, same))) {
        if (same) this.counted.set(entry.pid, same)
        continue
      }
      const tasks = readTasks(entry, left)
      left -= Math.max(1, tasks.size)
      // Of one that was there before and is seen for the first time it isn't known since when it has waited.
      const isOld = !same && entry.startedAtMs < this.sinceMs
      const grew = [...tasks].map(([id, waitedMs]) => Math.max(0, waitedMs - (same?.tasks.get(id) ?? 0)))
      const grown = grew.reduce((sum, ms) => sum + ms, 0)
      if (!isOld) this.add(grown, Math.max(0, ...grew))
      const { startTicks, cpuMs, threads } = entry
      const waitedMs = (same?.waitedMs ?? 0) + grown
      this.counted.set(entry.pid, { startTicks, readAtMs: nowMs, cpuMs, threads, waitedMs, tasks })
    }
  }

  /** The kernel's account of a process that has ended: what it had waited since it was read last. */
  ended({ pid, waitedMs, startedAtS, durationMs }: ProcessEnd, nowMs: number): void {
    const known = this.counted.get(pid)
    this.counted.delete(pid)
    if (!known && (startedAtS + 1) * 1000 < this.sinceMs) return
    // What threads had waited that ended long before it is told only now: no more than can have been waited since.
    const passedMs = known ? Math.max(0, nowMs - known.readAtMs) : durationMs
    const grown = Math.max(0, Math.min(waitedMs - (known?.waitedMs ?? 0), passedMs * (known?.threads ?? 1)))
    this.add(grown, Math.min(grown, passedMs))
  }

  private add(totalMs: number, longestMs: number): void {
    this.totalMs += totalMs
    this.longestMs += longestMs
  }
}

/** Looked at again since it was read, it had used no CPU time and was not ready to run. */
function isAtRest({ seenAtMs, state, cpuMs }: Known, { readAtMs, cpuMs: before }: Counted): boolean {
  return seenAtMs > readAtMs && state !== 'R' && cpuMs === before
}

/** What each of its threads has waited, in ms; none where it is gone or the kernel doesn't account for it. */
function readTasks({ pid, threads }: Known, most: number): Map<number, number> {
  const tasks = new Map<number, number>()
  for (const id of threads > 1 ? threadsOf(pid).slice(0, most) : [pid]) {
    const waitedMs = waitedIn(readOnce(threads > 1 ? `/proc/${pid}/task/${id}/schedstat` : `/proc/${pid}/schedstat`))
    if (waitedMs !== undefined) tasks.set(id, waitedMs)
  }
  return tasks
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}

/** `120285723 262275952 98`: nanoseconds on a CPU, nanoseconds of waiting for one, how often it was given one. */
function waitedIn(text: string): number | undefined {
  const waited = /^\d+ (\d+) \d+/.exec(text)?.[1]
  return waited === undefined ? undefined : Number(waited) / 1e6
}
