import type { ProcessEntry, ProcessTable } from './process-table.js'

/** From this share of the limit on, new processes are soon refused. */
const crowdedShare = 0.75
const keptMs = 10_000

/**
 * What there was most of when a sandbox was full of processes: a count says that one was refused only afterwards, when they may
 * have ended.
 */
export class Crowd {
  private seen: { entry: ProcessEntry; alike: number; atMs: number } | undefined

  /** Whether there is hardly room for another process. */
  look(table: ProcessTable, limit: number, nowMs: number): boolean {
    if (limit <= 0 || table.count < limit * crowdedShare) return false
    const [entry, alike] = commonest(table)
    const isStale = !this.seen || nowMs - this.seen.atMs > keptMs
    if (entry && (isStale || alike >= (this.seen?.alike ?? 0))) this.seen = { entry, alike, atMs: nowMs }
    return true
  }

  reset(): void {
    this.seen = undefined
  }

  /** What there is most of now, or was when there was no room, or what has taken most of it since then and has ended. */
  most(table: ProcessTable, limit: number, nowMs: number, sinceMs: number): [ProcessEntry | undefined, number] {
    const [entry, alike] = commonest(table)
    const { seen } = this
    if (seen && nowMs - seen.atMs <= keptMs && seen.alike > alike) return [seen.entry, seen.alike]
    if (alike >= limit / 2) return [entry, alike]
    return longest(table.since(sinceMs)) ?? [entry, alike]
  }
}

/** Of those that the kernel says have ended: the ones of one name that were there for most time, taken together. */
function longest(entries: readonly ProcessEntry[]): [ProcessEntry, number] | undefined {
  const groups = new Map<string, { entry: ProcessEntry; count: number; ms: number }>()
  for (const entry of entries) {
    if (!entry.end) continue
    const group = groups.get(entry.name) ?? { entry, count: 0, ms: 0 }
    group.count += 1
    group.ms += entry.end.durationMs
    // One whose arguments were seen tells more.
    if (group.entry.command.startsWith('[')) group.entry = entry
    groups.set(entry.name, group)
  }
  const [most] = [...groups.values()].filter(({ count }) => count > 1).toSorted((a, b) => b.ms - a.ms)
  return most && [most.entry, most.count]
}

function commonest(table: ProcessTable): [ProcessEntry | undefined, number] {
  const alike = new Map<string, { entry: ProcessEntry; count: number }>()
  for (const entry of table.processes) {
    const known = alike.get(entry.command)
    if (known) known.count += 1
    else alike.set(entry.command, { entry, count: 1 })
  }
  const [most] = [...alike.values()].toSorted((a, b) => b.count - a.count)
  return [most?.entry, most?.count ?? 0]
}
