/**
 * Tells when nothing has been heard for some time: first once, then, where there is a limit, that it is over. The time runs from
 * the first word: an agent that doesn't come to that is told of as one that didn't start.
 */
export class Silence {
  private heardAtMs = performance.now()
  private timer: NodeJS.Timeout | undefined
  private reported = false
  private paused = false
  private closed = false

  constructor(
    private readonly times: { reportMs: number; limitMs: number | undefined },
    private readonly on: { report(silentMs: number): void; limit(silentMs: number): void },
  ) {}

  heard(): void {
    this.heardAtMs = performance.now()
    this.reported = false
    if (!this.timer && !this.closed) this.plan()
  }

  /** Another agent takes the work up: its first word begins the time anew. */
  begin(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.reported = false
  }

  /** A person is waited for: that may take any time. */
  pause(paused: boolean): void {
    this.paused = paused
    this.heard()
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
  }

  private plan(): void {
    const { reportMs, limitMs = Infinity } = this.times
    const next = this.reported ? limitMs : Math.min(reportMs, limitMs)
    const leftMs = next === Infinity ? reportMs : next - (performance.now() - this.heardAtMs)
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.check(), Math.max(1, leftMs))
  }

  private check(): void {
    const { reportMs, limitMs = Infinity } = this.times
    const silentMs = Math.round(performance.now() - this.heardAtMs)
    if (!this.paused && silentMs >= Math.min(reportMs, limitMs) && !this.reported) {
      this.reported = true
      this.on.report(silentMs)
    }
    if (!this.paused && silentMs >= limitMs) return this.on.limit(silentMs)
    this.plan()
  }
}
