import type { Logger } from 'pino'
import { commonKind, isCommon, sameKind, type WarmKind } from './kind.js'
import { learnMs, poolSizes, type PoolLimits } from './pool-size.js'
import { refillDelayMs } from './refill-moment.js'
import type { SandboxAhead } from './sandbox-ahead.js'
import type { WarmSandbox } from './warm-sandbox.js'

export interface PoolOptions {
  /** Is kept from the start, whether somebody asks or not. */
  kind: WarmKind
  limits: PoolLimits
  make(kind: WarmKind): Promise<WarmSandbox>
  /** The newest installed release of a framework. */
  newest(framework: string): Promise<string>
  /** Finds room for one more on the host; false when there is none. */
  makeRoom(): Promise<boolean>
  /** The one without an agent is kept beside them, unless none of them is. */
  ahead: Pick<SandboxAhead, 'isDue' | 'make' | 'close'>
  logger: Logger
}

/** After a failure the next try waits this long, doubled each time up to the last. */
const retryMs = { first: 1_000, last: 60_000 }
/** Kinds that are remembered beside the one that is always kept; the one that was asked for longest ago is forgotten first. */
const maxLearned = 16

interface Shelf {
  readonly kind: WarmKind
  readonly learned: boolean
  readonly ready: WarmSandbox[]
  readonly arrivalsMs: number[]
  refillMs: number
  failures: number
  /** Not made before this, by `performance.now()`. */
  notBeforeMs: number
}

/**
 * Warm sandboxes, by kind. Each is handed out once. They are made one after the other, and not while a run is being started
 * or just has been, so that a burst isn't slowed by its own refill. Kinds that are asked for again and again are kept, too.
 */
export class WarmPool {
  private readonly shelves: Shelf[]
  private making: Promise<void> | undefined
  private timer: NodeJS.Timeout | undefined
  private starts = 0
  private startedMs = -Infinity
  /** Since when something is missing; undefined once it is being made. */
  private heldSinceMs: number | undefined
  private closed = false

  constructor(private readonly options: PoolOptions) {
    this.shelves = [shelfOf(options.kind, false)]
  }

  get size(): number {
    return this.shelves.reduce((sum, { ready }) => sum + ready.length, 0)
  }

  /**
   * The warm sandbox of this kind that has waited longest, or one with the agent that any run can have, or undefined: neither
   * is there.
   */
  take(kind: WarmKind): WarmSandbox | undefined {
    this.asked(kind)
    return this.next(kind) ?? (isCommon(kind.spec) ? undefined : this.next(commonKind(kind)))
  }

  private asked(kind: WarmKind): void {
    let shelf = this.shelfOf(kind)
    if (!shelf) {
      shelf = shelfOf(kind, true)
      this.shelves.push(shelf)
      const learned = this.shelves.filter((each) => each.learned)
      if (learned.length > maxLearned) this.drop(learned.toSorted(byLastArrival)[0] as Shelf)
    }
    shelf.arrivalsMs.push(performance.now())
    if (shelf.arrivalsMs.length > 1000) shelf.arrivalsMs.splice(0, 500)
  }

  private shelfOf(kind: WarmKind): Shelf | undefined {
    return this.shelves.find((shelf) => sameKind(shelf.kind, kind))
  }

  private drop(shelf: Shelf): void {
    this.shelves.splice(this.shelves.indexOf(shelf), 1)
    for (const each of shelf.ready.splice(0)) void each.close()
  }

  private next(kind: WarmKind): WarmSandbox | undefined {
    const ready = this.shelfOf(kind)?.ready ?? []
    for (let next = ready.shift(); next; next = ready.shift()) {
      if (next.process.isRunning()) return next
      this.bury(next)
    }
    return undefined
  }

  private bury(dead: WarmSandbox): void {
    this.options.logger.warn({ sandboxId: dead.sandbox.id }, 'a warm sandbox had died in the pool')
    void dead.close()
  }

  /** One that dies while it waits is replaced, whether somebody asks or not. */
  private async watch(shelf: Shelf, made: WarmSandbox): Promise<void> {
    await made.process.exited
    const index = shelf.ready.indexOf(made)
    if (index < 0) return
    shelf.ready.splice(index, 1)
    this.bury(made)
    this.fill()
  }

  /** Begins to fill; says, once the first has been made or could not be, whether one waits. */
  async begin(): Promise<boolean> {
    this.fill()
    await this.making
    return this.size > 0
  }

  /** Refilling waits until what this returns is called. */
  pause(): () => void {
    this.starts += 1
    let over = false
    return () => {
      if (over) return
      over = true
      this.starts -= 1
      this.startedMs = performance.now()
      this.fill()
    }
  }

  /** Makes what is missing and closes what is too many, in the background. */
  fill(): void {
    if (this.closed || this.starts > 0 || this.making) return
    clearTimeout(this.timer)
    const nowMs = performance.now()
    const sizes = poolSizes(
      this.shelves.map((shelf) => ({ ...shelf, nowMs })),
      this.options.limits,
    )
    for (const [index, shelf] of this.shelves.entries())
      for (const extra of shelf.ready.splice(sizes[index]!)) void extra.close()
    for (const shelf of this.shelves.filter((each) => each.learned && lastArrival(each) < nowMs - learnMs))
      this.drop(shelf)
    // What is wanted falls when nobody asks for a while, and a release may have been installed.
    this.later(this.options.limits.windowMs)
    const short = this.shelves.filter((shelf, index) => shelf.ready.length < (sizes[index] ?? 0))
    const due = short.find(({ notBeforeMs }) => notBeforeMs <= nowMs)
    if (short.length > 0 && !due) this.later(Math.min(...short.map(({ notBeforeMs }) => notBeforeMs)) - nowMs)
    const { ahead, limits } = this.options
    const aheadIsDue = limits.max > 0 && ahead.isDue
    if (due || aheadIsDue) {
      const { startedMs, heldSinceMs = (this.heldSinceMs = nowMs) } = this
      const isEmpty = short.some(({ ready }) => ready.length === 0)
      const delayMs = refillDelayMs({ nowMs, startedMs, heldSinceMs, isEmpty })
      if (delayMs > 0) return this.later(delayMs)
    }
    this.heldSinceMs = undefined
    const next = due ? this.makeOne(due) : aheadIsDue ? ahead.make() : this.renewOne()
    this.making = next.then((made) => {
      this.making = undefined
      if (made) this.fill()
    })
  }

  private later(ms: number): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.fill(), ms).unref()
  }

  private async makeOne(shelf: Shelf): Promise<boolean> {
    try {
      if (!(await this.options.makeRoom())) return false
      const made = await this.options.make(shelf.kind)
      shelf.failures = 0
      shelf.refillMs = (shelf.refillMs + made.madeInMs) / 2
      if (this.closed || !this.shelves.includes(shelf)) await made.close()
      else {
        shelf.ready.push(made)
        void this.watch(shelf, made)
      }
    } catch (error) {
      shelf.failures += 1
      const { first, last } = retryMs
      shelf.notBeforeMs = performance.now() + Math.min(last, first * 2 ** (shelf.failures - 1))
      const { logger } = this.options
      if (!this.closed) logger.warn({ error, failures: shelf.failures }, 'a warm sandbox could not be made')
    }
    return true
  }

  /** One whose agent is of a release before the newest gives way to another, which is made first. Says whether there was one. */
  private async renewOne(): Promise<boolean> {
    for (const shelf of this.shelves) {
      if (shelf.ready.length === 0) continue
      const newest = await this.options.newest(shelf.kind.driver.name).catch(() => undefined)
      const old = shelf.ready.find(({ version }) => newest !== undefined && version !== newest)
      if (!old || this.closed || shelf.notBeforeMs > performance.now()) continue
      if (!(await this.makeOne(shelf))) return false
      const index = shelf.ready.indexOf(old)
      if (index >= 0 && shelf.failures === 0) await shelf.ready.splice(index, 1)[0]?.close()
      return true
    }
    return false
  }

  /** Gives a sandbox's room back to a session; false when there is none to give. */
  async shrink(): Promise<boolean> {
    const shelf = this.shelves.findLast(({ ready }) => ready.length > 0)
    const last = shelf?.ready.pop()
    await last?.close()
    return last !== undefined
  }

  async close(): Promise<void> {
    this.closed = true
    clearTimeout(this.timer)
    await this.making
    await this.options.ahead.close()
    await Promise.all(this.shelves.flatMap(({ ready }) => ready.splice(0).map((each) => each.close())))
  }
}

const shelfOf = (kind: WarmKind, learned: boolean): Shelf => ({
  kind,
  learned,
  ready: [],
  arrivalsMs: [],
  refillMs: 1_000,
  failures: 0,
  notBeforeMs: 0,
})

const lastArrival = ({ arrivalsMs }: Shelf): number => arrivalsMs.at(-1) ?? 0
const byLastArrival = (a: Shelf, b: Shelf): number => lastArrival(a) - lastArrival(b)
