import { byteWords } from '@vm0/contract'
import type { ResourceFigures } from '@vm0/sandbox'

/** What a sandbox's resources are told by: how much is used, what is waited for. */
export interface ResourceLine {
  text: string
  details: Record<string, number>
}

/** From where on it is told, and below which it counts as over: between the two nothing is said. */
const memoryShare = { from: 0.85, over: 0.7 }
const throttledShare = { from: 0.5, over: 0.2 }
/** Of the last ten seconds, in which some or all of its tasks waited for memory or disk. */
const stalledPercent = { from: 20, over: 5 }
/** Over which throttling is summed. */
const windowMs = 5_000

/** Says when a sandbox gets short of memory, CPU time or disk, and when that is over; not more often. */
export class ResourceLines {
  private readonly short = new Set<string>()
  private before: { atMs: number; throttledMs: number } | undefined

  next({ atMs, memoryBytes, limitBytes, throttledMs, pressure }: ResourceFigures): ResourceLine[] {
    const lines: ResourceLine[] = []
    const tell = (
      what: string,
      value: number,
      bounds: { from: number; over: number },
      line: () => ResourceLine,
    ): void => {
      const was = this.short.has(what)
      const is = value >= (was ? bounds.over : bounds.from)
      if (is === was) return
      if (is) this.short.add(what)
      else this.short.delete(what)
      const { text, details } = line()
      lines.push({ text: is ? text : `${text}: no longer short`, details })
    }
    if (limitBytes > 0)
      tell('memory', memoryBytes / limitBytes, memoryShare, () => ({
        text: `${byteWords(memoryBytes)} of ${byteWords(limitBytes)} of memory are used`,
        details: { memoryBytes, limitBytes },
      }))
    const since = this.before
    if (!since || throttledMs < since.throttledMs) this.before = { atMs, throttledMs }
    else if (atMs - since.atMs >= windowMs) {
      const share = Math.min(1, (throttledMs - since.throttledMs) / (atMs - since.atMs))
      this.before = { atMs, throttledMs }
      tell('cpu', share, throttledShare, () => ({
        text: `waited for CPU time in ${Math.round(share * 100)}% of the last ${Math.round((atMs - since.atMs) / 1000)} s`,
        details: { throttledShare: Math.round(share * 100) / 100, throttledMs },
      }))
    }
    for (const kind of ['memory', 'io'] as const) {
      const some = pressure?.[kind].some
      if (some === undefined) continue
      tell(`${kind} stalls`, some, stalledPercent, () => ({
        text: `tasks waited for ${kind === 'io' ? 'the disk' : 'memory'} in ${Math.round(some)}% of the last 10 s`,
        details: { stalledPercent: some },
      }))
    }
    return lines
  }
}
