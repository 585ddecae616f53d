const windowMs = 30_000
const starvedShare = 0.6

/** Whether a sandbox has gone without CPU time for most of half a minute, told once. */
export class Starvation {
  private points: { atMs: number; throttledMs: number }[] = []
  private told = false

  reset(): void {
    this.points = []
    this.told = false
  }

  /** The part of the time in which its processes had to wait, the first time that it is large. */
  share(atMs: number, throttledMs: number): number | undefined {
    this.points.push({ atMs, throttledMs })
    while ((this.points[1]?.atMs ?? Infinity) <= atMs - windowMs) this.points.shift()
    const [first] = this.points
    if (this.told || !first || atMs - first.atMs < windowMs) return undefined
    const share = Math.min(1, (throttledMs - first.throttledMs) / (atMs - first.atMs))
    if (share < starvedShare) return undefined
    this.told = true
    return Math.round(share * 100) / 100
  }
}
