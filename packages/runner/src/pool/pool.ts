import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { poolSize, type PoolLimits } from './pool-size.js'
import type { WarmKind, WarmSandbox } from './warm-sandbox.js'

export interface PoolOptions {
  kind: WarmKind
  limits: PoolLimits
  make(kind: WarmKind): Promise<WarmSandbox>
  /** Whether the host has room for one more. */
  hasRoom(): boolean
  logger: Logger
}

/** After a failure the next try waits this long, doubled each time up to the last. */
const retryMs = { first: 1_000, last: 60_000 }

/**
 * Warm sandboxes of one kind. Each is handed out once. They are made one after the other, and not while a run is being
 * started, so that a burst isn't slowed by its own refill.
 */
export class WarmPool {
  private readonly ready: WarmSandbox[] = []
  private readonly arrivalsMs: number[] = []
  private making: Promise<void> | undefined
  private timer: NodeJS.Timeout | undefined
  private starts = 0
  private failures = 0
  private refillMs = 1_000
  private closed = false

  constructor(private readonly options: PoolOptions) {}

  get size(): number {
    return this.ready.length
  }

  /** The warm sandbox that has waited longest, or undefined: none of this kind is there. */
  take(kind: WarmKind): WarmSandbox | undefined {
    if (!isDeepStrictEqual(identity(kind), identity(this.options.kind))) return undefined
    this.arrivalsMs.push(performance.now())
    if (this.arrivalsMs.length > 1000) this.arrivalsMs.splice(0, 500)
    for (let next = this.ready.shift(); next; next = this.ready.shift()) {
      if (next.process.isRunning()) return next
      this.options.logger.warn({ sandboxId: next.sandbox.id }, 'a warm sandbox had died in the pool')
      void next.close()
    }
    return undefined
  }

  /** Begins to fill; says, once the first has been made or could not be, whether one waits. */
  async begin(): Promise<boolean> {
    this.fill()
    await this.making
    return this.ready.length > 0
  }

  /** Refilling waits until what this returns is called. */
  pause(): () => void {
    this.starts += 1
    let over = false
    return () => {
      if (over) return
      over = true
      this.starts -= 1
      this.fill()
    }
  }

  /** Makes what is missing and closes what is too many, in the background. */
  fill(): void {
    if (this.closed || this.starts > 0 || this.making) return
    clearTimeout(this.timer)
    const wanted = poolSize(
      { arrivalsMs: this.arrivalsMs, nowMs: performance.now(), refillMs: this.refillMs },
      this.options.limits,
    )
    for (const extra of this.ready.splice(wanted)) void extra.close()
    // What is wanted falls when nobody asks for a while.
    if (this.ready.length > this.options.limits.min)
      this.timer = setTimeout(() => this.fill(), this.options.limits.windowMs).unref()
    if (this.ready.length >= wanted || !this.options.hasRoom()) return
    this.making = this.makeOne().finally(() => {
      this.making = undefined
      if (this.failures === 0) this.fill()
      else
        this.timer = setTimeout(
          () => this.fill(),
          Math.min(retryMs.last, retryMs.first * 2 ** (this.failures - 1)),
        ).unref()
    })
  }

  private async makeOne(): Promise<void> {
    try {
      const made = await this.options.make(this.options.kind)
      this.failures = 0
      this.refillMs = (this.refillMs + made.madeInMs) / 2
      if (this.closed) return await made.close()
      this.ready.push(made)
    } catch (error) {
      this.failures += 1
      if (!this.closed) this.options.logger.warn({ error, failures: this.failures }, 'a warm sandbox could not be made')
    }
  }

  /** Gives a sandbox's room back to a session; false when there is none to give. */
  async shrink(): Promise<boolean> {
    const last = this.ready.pop()
    await last?.close()
    return last !== undefined
  }

  async close(): Promise<void> {
    this.closed = true
    clearTimeout(this.timer)
    await this.making
    await Promise.all(this.ready.splice(0).map((each) => each.close()))
  }
}

function identity({ driver, template, resources }: WarmKind) {
  return { framework: driver.name, template, resources }
}
