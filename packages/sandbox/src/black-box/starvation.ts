import type { CpuStarvation } from '@vm0/contract'
import type { Details } from '../cgroup/cgroup.js'

const windowMs = 30_000
/** Of a run that is over before the window is. */
const shortestMs = 5_000
const starvedShare = 0.6
/** Where others use the CPUs too, its processes wait for them as well, and are kept waiting less: so often at least it used its time up. */
const oftenShare = 0.9
const leastShare = 0.3

export interface CpuFigures extends Pick<Details, 'throttledMs' | 'periods' | 'throttledPeriods' | 'cpus'> {
  /** CPU time that its tasks had, and time in which they were ready to run and had none, each of all tasks together. */
  cpuMs: number
  waitedMs: number
  /** The same, of each process only the thread that waited longest: threads of one process often wait at the same time. */
  longestWaitMs: number
}

interface Point extends CpuFigures {
  atMs: number
  /** In so much of the time, at most, one of its tasks or more waited. */
  stalledMs: number
}
export type Starved = Omit<CpuStarvation, 'hostLoad'> & { share: number }

/**
 * Whether a sandbox has gone without CPU time for most of half a minute, or of a shorter run's whole time: because it had used
 * up its own, or because others on the host had the CPUs. Each is told once.
 */
export class Starvation {
  private points: Point[] = []
  private readonly told = new Set<Starved['by']>()

  constructor(private readonly hostCpus: number) {}

  reset(): void {
    this.points = []
    this.told.clear()
  }

  /** The part of the time in which its processes had to wait, the first time that it is large. */
  next(atMs: number, figures: CpuFigures, isOver = false): Starved | undefined {
    const last = { atMs, ...figures, stalledMs: this.stalledMs(atMs, figures.longestWaitMs) }
    this.points.push(last)
    while ((this.points[1]?.atMs ?? Infinity) <= atMs - windowMs) this.points.shift()
    const first = isOver ? this.lastHalf(atMs) : this.points[0]
    if (!first || atMs - first.atMs < (isOver ? shortestMs : windowMs)) return undefined
    const use = useBetween(first, last, this.hostCpus)
    const found = causeOf(first, last, use)
    if (!found || this.told.has(found.by)) return undefined
    // Who is kept back by its own limit is told that, also where others are busy.
    this.told.add('others').add(found.by)
    return { ...found, overMs: atMs - first.atMs, ...use }
  }

  /** Processes that wait at the same time wait no longer than the time between two looks. */
  private stalledMs(atMs: number, longestWaitMs: number): number {
    const before = this.points.at(-1)
    return before ? before.stalledMs + Math.min(longestWaitMs - before.longestWaitMs, atMs - before.atMs) : 0
  }

  /** A run that ends is judged by how it was at last: its agent may have started while there was time enough. */
  private lastHalf(atMs: number): Point | undefined {
    const fromMs = Math.min(atMs - shortestMs, (atMs + (this.points[0]?.atMs ?? atMs)) / 2)
    return this.points.findLast((point) => point.atMs <= fromMs)
  }
}

type Use = Pick<CpuStarvation, 'usedCpus' | 'allowedCpus' | 'waitingTasks' | 'hostCpus'>

function useBetween(first: Point, last: Point, hostCpus: number): Use {
  const passedMs = last.atMs - first.atMs
  return {
    usedCpus: round((last.cpuMs - first.cpuMs) / passedMs),
    allowedCpus: round(Math.min(last.cpus, hostCpus)),
    waitingTasks: round((last.waitedMs - first.waitedMs) / passedMs),
    hostCpus,
  }
}

function causeOf(first: Point, last: Point, use: Use): Pick<Starved, 'by' | 'share'> | undefined {
  const passedMs = last.atMs - first.atMs
  const throttled = Math.min(1, (last.throttledMs - first.throttledMs) / passedMs)
  const often = (last.throttledPeriods - first.throttledPeriods) / Math.max(1, last.periods - first.periods)
  if (throttled >= starvedShare || (throttled >= leastShare && often >= oftenShare))
    return { by: 'limit', share: round(throttled) }
  const stalled = (last.stalledMs - first.stalledMs) / passedMs
  if (stalled < starvedShare) return undefined
  if (lackedShare(use) >= starvedShare) return { by: 'others', share: round(stalled) }
  // Others leave it most of the little that it may have: it is seldom stopped by its limit, and hardly faster without them.
  const isLimited = often >= leastShare && lackedShare({ ...use, allowedCpus: use.hostCpus }) >= starvedShare
  return isLimited ? { by: 'limit', share: round(stalled) } : undefined
}

/**
 * What it lacked of the CPU time that its tasks could have used at the same time within its limit. Tasks that wait for each
 * other, or for the next period of their own limit, lack none: the sandbox then has what it may have.
 */
export function lackedShare({
  usedCpus,
  waitingTasks,
  allowedCpus,
}: Pick<Use, 'usedCpus' | 'waitingTasks' | 'allowedCpus'>): number {
  const usable = Math.min(allowedCpus, usedCpus + waitingTasks)
  return usable > usedCpus ? (usable - usedCpus) / usable : 0
}

const round = (value: number): number => Math.round(value * 100) / 100
