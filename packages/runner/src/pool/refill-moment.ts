export interface RefillMoment {
  nowMs: number
  /** When a run was started last; -Infinity: none was. */
  startedMs: number
  /** Since when something is missing that was not made yet; undefined: since now. */
  heldSinceMs: number | undefined
  /** A kind that is kept has none left: the next one who asks for it would find nothing. */
  isEmpty: boolean
}

/** Who has just had an answer often asks again: that prompt, too, has the CPU for itself. */
const quietMs = 500
/** On a host that is never quiet; and where the next one would find nothing. */
const patienceMs = { usual: 3_000, empty: quietMs }

/** How long a refill waits from now on, in milliseconds; 0: it can begin. */
export function refillDelayMs({ nowMs, startedMs, heldSinceMs = nowMs, isEmpty }: RefillMoment): number {
  const latestMs = heldSinceMs + (isEmpty ? patienceMs.empty : patienceMs.usual)
  return Math.max(0, Math.min(startedMs + quietMs, latestMs) - nowMs)
}
