/** A limit on the time that something takes, without the time in which it is not to blame. */
export class TimeLimit {
  private timer: NodeJS.Timeout | undefined
  private startedMs = 0

  constructor(
    private leftMs: number,
    private readonly onEnd: () => void,
  ) {
    this.goOn()
  }

  pause(): void {
    if (!this.timer) return
    this.close()
    this.leftMs -= performance.now() - this.startedMs
  }

  goOn(): void {
    if (this.timer) return
    this.startedMs = performance.now()
    this.timer = setTimeout(this.onEnd, Math.max(1, this.leftMs))
  }

  close(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }
}
