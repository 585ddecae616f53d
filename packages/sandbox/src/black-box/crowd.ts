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

  /** What there is most of now, or was when there was no room. */
  most(table: ProcessTable, nowMs: number): [ProcessEntry | undefined, number] {
    const [entry, alike] = commonest(table)
    const { seen } = this
    return seen && nowMs - seen.atMs <= keptMs && seen.alike > alike ? [seen.entry, seen.alike] : [entry, alike]
  }
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
