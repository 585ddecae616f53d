import type { Logger } from 'pino'
import type { LiveSession } from '../live-session.js'
import { hostMemory } from './host-memory.js'
import { nextStep, type ReclaimLimits } from './policy.js'

/** How often the host's memory is read while there is a frozen sandbox. */
const everyMs = 2_000

export interface ReclaimerParts {
  limits: ReclaimLimits
  /** The sessions whose sandboxes are frozen. */
  frozen(): LiveSession[]
  /** Saves a session and frees its sandbox. */
  park(session: LiveSession): Promise<void>
  logger: Logger
}

/** Gives the memory of frozen sandboxes back while the host is short of it: `policy.ts` says whose, one after the other. */
export class Reclaimer {
  /** Bytes that were given back since it began. */
  reclaimedBytes = 0
  private readonly timer: NodeJS.Timeout
  private isShort = false
  private working: Promise<void> | undefined
  private closed = false
  /** What could not be done is not tried again every time. */
  private readonly failed = new WeakSet<LiveSession>()

  constructor(private readonly parts: ReclaimerParts) {
    this.timer = setInterval(() => this.look(), everyMs).unref()
  }

  /** Does what is to be done now, in the background. */
  look(): void {
    if (this.closed) return
    this.working ??= this.work().finally(() => (this.working = undefined))
  }

  private async work(): Promise<void> {
    while (!this.closed) {
      const sessions = this.parts.frozen().filter((session) => !this.failed.has(session))
      const frozen = sessions.map((session) => {
        const { lastUsedMs, users, freezing } = session
        return { session, lastUsedMs, isReclaimed: freezing.isReclaimed, isIdle: users === 0 }
      })
      const memory = frozen.length > 0 ? hostMemory() : undefined
      if (!memory) return
      const { isShort, reclaim, park } = nextStep(memory, this.isShort, frozen, this.parts.limits)
      this.isShort = isShort
      const session = (reclaim ?? park)?.session
      if (!session) return
      try {
        await (reclaim ? this.reclaim(session) : this.parts.park(session))
      } catch (error) {
        this.failed.add(session)
        const { sessionId } = session.ref
        this.parts.logger.warn({ sessionId, error }, "a frozen session's memory could not be given back")
      }
    }
  }

  private async reclaim(session: LiveSession): Promise<void> {
    const startedMs = performance.now()
    const bytes = await session.freezing.reclaim()
    this.reclaimedBytes += bytes
    const ms = Math.round(performance.now() - startedMs)
    this.parts.logger.info({ sessionId: session.ref.sessionId, bytes, ms }, 'memory of a frozen session was given back')
  }

  async close(): Promise<void> {
    this.closed = true
    clearInterval(this.timer)
    await this.working
  }
}
