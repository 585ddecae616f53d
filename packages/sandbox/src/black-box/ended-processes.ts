import type { ProcessEntry } from './process-table.js'

/** Beyond these, those that had used least are forgotten, and counted. */
const maxEnded = 512
const maxCounts = 100

/** Processes of a sandbox that have ended, until somebody asks for them; bounded, whatever a sandbox starts. */
export class EndedProcesses {
  entries: ProcessEntry[] = []
  private forgotten: { atMs: number; count: number }[] = []

  add(entry: ProcessEntry, nowMs: number): void {
    this.entries.push(entry)
    if (this.entries.length <= maxEnded) return
    const before = this.entries.length
    this.entries = withParents(
      this.entries.toSorted((a, b) => weight(b) - weight(a)).slice(0, maxEnded / 2),
      this.entries,
    )
    this.forgotten.push({ atMs: nowMs, count: before - this.entries.length })
    const [oldest, next] = this.forgotten
    if (this.forgotten.length > maxCounts && oldest && next)
      this.forgotten.splice(0, 2, { atMs: next.atMs, count: oldest.count + next.count })
  }

  find(is: (entry: ProcessEntry) => boolean): ProcessEntry | undefined {
    return this.entries.findLast(is)
  }

  forgottenSince(ms: number): number {
    return this.forgotten.reduce((sum, { atMs, count }) => sum + (atMs >= ms ? count : 0), 0)
  }

  forget(beforeMs: number): void {
    if ((this.entries[0]?.seenAtMs ?? beforeMs) >= beforeMs) return
    this.entries = this.entries.filter(({ seenAtMs }) => seenAtMs >= beforeMs)
    this.forgotten = this.forgotten.filter(({ atMs }) => atMs >= beforeMs)
  }
}

/** What makes one worth to be told. */
export function weight({ cpuMs, peakRssBytes, end }: ProcessEntry): number {
  const failed = end && end.exitCode !== 0 ? 5 : 0
  return cpuMs + peakRssBytes / 1e6 + failed
}

/** Those that are kept, with what had started them, so that they stay in their tree; in the order in which they ended. */
function withParents(kept: readonly ProcessEntry[], all: readonly ProcessEntry[]): ProcessEntry[] {
  const byPid = new Map(all.map((entry) => [entry.pid, entry]))
  const chosen = new Set(kept)
  for (const { parentPid } of chosen) {
    const parent = byPid.get(parentPid)
    if (parent && chosen.size < (maxEnded * 3) / 4) chosen.add(parent)
  }
  return all.filter((entry) => chosen.has(entry))
}
