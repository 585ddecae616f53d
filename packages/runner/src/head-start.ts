/** A warm agent's first model request takes 30 to 50 ms; whoever needs longer is not held up by what waits. */
const headStartMs = 100

/**
 * An agent that has its prompt has the CPU for itself until its first model request is on its way: what the platform has to
 * note and to look at waits until `over`.
 */
export class HeadStart {
  readonly over: Promise<void>
  private resolve: () => void = () => undefined
  private timer: NodeJS.Timeout | undefined

  constructor() {
    this.over = new Promise((resolve) => (this.resolve = resolve))
  }

  /** It has its prompt. */
  begin(): void {
    this.timer ??= setTimeout(this.resolve, headStartMs)
  }

  end(): void {
    clearTimeout(this.timer)
    this.resolve()
  }
}
