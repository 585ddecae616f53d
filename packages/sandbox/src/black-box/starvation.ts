import type { Details } from '../cgroup/cgroup.js'

const windowMs = 30_000
/** Of a run that is over before the window is. */
const shortestMs = 5_000
const starvedShare = 0.6
/** Where others use the CPUs too, its processes wait for them as well, and are kept waiting less: so often at least it used its time up. */
const oftenShare = 0.9
const leastShare = 0.3

type Throttled = Pick<Details, 'throttledMs' | 'periods' | 'throttledPeriods'>

/** Whether a sandbox has gone without CPU time for most of half a minute, or of a shorter run's whole time; told once. */
export class Starvation {
  private points: (Throttled & { atMs: number })[] = []
  private told = false

  reset(): void {
    this.points = []
    this.told = false
  }

  /** The part of the time in which its processes had to wait, the first time that it is large. */
  share(atMs: number, { throttledMs, periods, throttledPeriods }: Throttled, isOver = false): number | undefined {
    this.points.push({ atMs, throttledMs, periods, throttledPeriods })
    while ((this.points[1]?.atMs ?? Infinity) <= atMs - windowMs) this.points.shift()
    const first = isOver ? this.lastHalf(atMs) : this.points[0]
    if (this.told || !first || atMs - first.atMs < (isOver ? shortestMs : windowMs)) return undefined
    const share = Math.min(1, (throttledMs - first.throttledMs) / (atMs - first.atMs))
    const often = (throttledPeriods - first.throttledPeriods) / Math.max(1, periods - first.periods)
    if (share < starvedShare && (share < leastShare || often < oftenShare)) return undefined
    this.told = true
    return Math.round(share * 100) / 100
  }
  /** A run that ends is judged by how it was at last: its agent may have started while there was time enough. */
  private lastHalf(atMs: number): (Throttled & { atMs: number }) | undefined {
    const fromMs = Math.min(atMs - shortestMs, (atMs + (this.points[0]?.atMs ?? atMs)) / 2)
    return this.points.findLast((point) => point.atMs <= fromMs)
  }
}
