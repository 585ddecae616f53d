/** More than clocks drift apart, or are slewed, in the time between two looks. */
const noticeableMs = 30_000

/**
 * Whether the host's clock was set. What is old is told by that clock, so after a step the age of what was written before
 * it means nothing for a while: an upload of a moment ago may look like one of yesterday.
 */
export class ClockWatch {
  private differenceMs: number
  private steppedAtMs = -Infinity
  private stepMs = 0

  constructor(
    private readonly wall: () => number = Date.now,
    /** Goes on evenly, whatever is done to the other. */
    private readonly steady: () => number = () => performance.now(),
  ) {
    this.differenceMs = wall() - steady()
  }

  /** By how much the clock was set, where that was noticed within this time. */
  steppedWithin(ms: number): number | undefined {
    const now = this.steady()
    const difference = this.wall() - now
    if (Math.abs(difference - this.differenceMs) > noticeableMs) {
      this.stepMs = difference - this.differenceMs
      this.steppedAtMs = now
    }
    this.differenceMs = difference
    return now - this.steppedAtMs < ms ? this.stepMs : undefined
  }
}
