import type { Scene } from '@vm0/contract'

interface Point {
  atMs: number
  bytes: number
}

const spacingMs = 1_000
const keptMs = 5 * 60_000
const shownPoints = 60

/** How much memory a sandbox had in use over the last five minutes: a point a second, and one more wherever it jumps. */
export class MemoryCurve {
  private points: Point[] = []

  add(atMs: number, bytes: number): void {
    const last = this.points.at(-1)
    const jumps = last && Math.abs(bytes - last.bytes) > last.bytes / 8
    if (last && !jumps && atMs - last.atMs < spacingMs) return
    this.points.push({ atMs, bytes })
    if (this.points.length > 1_200 || (this.points[0]?.atMs ?? atMs) < atMs - keptMs - 30_000)
      this.points = this.points.filter((point) => point.atMs >= atMs - keptMs).slice(-600)
  }

  /** The highest of each part of the time, the oldest first. */
  shown(nowMs: number): Scene['memoryCurve'] {
    const points = this.points.filter(({ atMs }) => atMs >= nowMs - keptMs)
    const from = points[0]?.atMs ?? nowMs
    const partMs = Math.max(1, (nowMs - from + 1) / shownPoints)
    const parts = new Map<number, Point>()
    for (const point of points) {
      const part = Math.floor((point.atMs - from) / partMs)
      const highest = parts.get(part)
      if (!highest || point.bytes > highest.bytes) parts.set(part, point)
    }
    return [...parts.values()].map(({ atMs, bytes }) => ({ beforeMs: Math.round(nowMs - atMs), bytes }))
  }
}
