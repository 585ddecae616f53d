import type { EventBody } from '@vm0/contract'

type MemoryEvent = Extract<EventBody, { type: 'sandbox.memory' }>

const spacingMs = 1_000
/** A change of this share of what was in use is a point of its own. */
const jumpShare = 1 / 8
const jumpSpacingMs = 50
const maxPoints = 60

/** How much memory a run's sandbox has in use, collected into an event a minute: a point a second, more where it jumps. */
export class MemoryTrack {
  private points: { atMs: number; bytes: number }[] = []
  private last: { atMs: number; bytes: number } | undefined
  private limitBytes = 0

  /** Gives back what is to be told, where there is enough of it. */
  add(atMs: number, bytes: number, limitBytes: number): MemoryEvent | undefined {
    this.limitBytes = limitBytes
    const { last } = this
    const afterMs = last ? atMs - last.atMs : Infinity
    const jumps = last !== undefined && Math.abs(bytes - last.bytes) > last.bytes * jumpShare
    // A clock that was set back makes a negative time of it.
    if (afterMs >= 0 && afterMs < (jumps ? jumpSpacingMs : spacingMs)) return undefined
    this.last = { atMs, bytes }
    this.points.push(this.last)
    return this.points.length >= maxPoints ? this.take() : undefined
  }

  /** What there is; undefined where it is nothing. */
  take(): MemoryEvent | undefined {
    const { limitBytes } = this
    const [first] = this.points
    if (!first) return undefined
    const points = this.points.map(({ atMs, bytes }) => ({ afterMs: Math.max(0, atMs - first.atMs), bytes }))
    this.points = []
    return { type: 'sandbox.memory', since: new Date(first.atMs).toISOString(), limitBytes, points }
  }
}
