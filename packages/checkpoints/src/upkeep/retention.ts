/** Which of a session's checkpoints stay. Those with a name stay anyway, and so do heads and what forks were made from. */
export interface RetentionPolicy {
  /** The newest ones. */
  last: number
  /** The newest of each of the last days (months) that have any, by UTC. */
  daily: number
  monthly: number
  /** Younger than this stays: whoever has just seen it may want to go back to it. */
  minAgeMs: number
}

export interface DatedCheckpoint {
  id: string
  createdAtMs: number
  name: string | null
}

/** Those of one session, the newest first, that the policy lets go. */
export function expiredCheckpoints(
  checkpoints: readonly DatedCheckpoint[],
  { last, daily, monthly, minAgeMs }: RetentionPolicy,
  nowMs: number,
): string[] {
  const kept = new Set(checkpoints.slice(0, last))
  const keepNewestOf = (periods: number, lengthOfDate: number): void => {
    const seen = new Set<string>()
    for (const each of checkpoints) {
      const period = new Date(each.createdAtMs).toISOString().slice(0, lengthOfDate)
      if (seen.has(period)) continue
      if (seen.size >= periods) return
      seen.add(period)
      kept.add(each)
    }
  }
  keepNewestOf(daily, '2026-01-31'.length)
  keepNewestOf(monthly, '2026-01'.length)
  return checkpoints
    .filter((each) => !kept.has(each) && each.name === null && nowMs - each.createdAtMs >= minAgeMs)
    .map(({ id }) => id)
}
