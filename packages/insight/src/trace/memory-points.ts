import type { EventOf, Trace } from '@vm0/contract'

type Memory = NonNullable<Trace['memory']>

const maxPoints = 2_000

/** The memory of a run's sandbox over its time. Of a long run the highest of each part of the time is kept. */
export class MemoryPoints {
  private points: Memory['points'] = []
  private limitBytes = 0
  /** Milliseconds that one point stands for. */
  private partMs = 0

  add({ limitBytes, points }: EventOf<'sandbox.memory'>, sinceMs: number): void {
    this.limitBytes = Math.max(this.limitBytes, limitBytes)
    for (const { afterMs, bytes } of points) this.point({ atMs: sinceMs + afterMs, bytes })
  }

  /** Null where nothing is known of it. */
  shown(): Memory | null {
    const { points, limitBytes } = this
    if (points.length === 0) return null
    const peakBytes = points.reduce((most, { bytes }) => Math.max(most, bytes), 0)
    return { limitBytes, peakBytes, points }
  }

  private point(point: Memory['points'][number]): void {
    const last = this.points.at(-1)
    // Clocks may be set: the curve goes on from where it is.
    const atMs = Math.max(point.atMs, last?.atMs ?? 0)
    if (last && atMs - last.atMs < this.partMs) last.bytes = Math.max(last.bytes, point.bytes)
    else this.points.push({ atMs, bytes: point.bytes })
    if (this.points.length <= maxPoints) return
    const all = this.points
    this.partMs = Math.max(1, ((all.at(-1)?.atMs ?? 0) - (all[0]?.atMs ?? 0)) / (maxPoints / 2))
    this.points = []
    for (const each of all) this.point(each)
  }
}
