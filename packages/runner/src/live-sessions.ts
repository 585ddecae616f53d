import { Vm0Error, type SessionRef } from '@vm0/contract'
import { isLost, LiveSession } from './live-session.js'
import type { RunnerOptions } from './options.js'
import type { SandboxAhead } from './pool/sandbox-ahead.js'
import type { RunnerStore } from './store.js'

export const sessionKey = (ref: SessionRef): string => `${ref.projectId}/${ref.sessionId}`

/**
 * The sessions that hold a sandbox on this host.
 *
 *   used ──last user leaves──▶ idle ──freezeMs──▶ frozen ──idleMs, or no memory at all──▶ saved and gone
 *     ▲                          │                  │ └─the host is short of memory: given back, as `reclaim/` has it
 *     └──────── acquire ─────────┴──────────────────┘
 */
export class LiveSessions {
  private readonly sessions = new Map<string, LiveSession>()
  private readonly parking = new Map<string, Promise<void>>()
  private readonly timers = new Map<string, NodeJS.Timeout[]>()
  /** Somebody was told that there is no room. */
  private refused = false

  constructor(
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
    private readonly ahead: SandboxAhead,
    private readonly others: {
      /** Sandboxes that wait for a session to come, and the way to end one of them; false when there is none. */
      spares(): number
      endSpare(): Promise<boolean>
      /** A session has no user for so long that its sandbox was frozen. */
      onFrozen(): void
      /** There was no room, and now there may be. */
      onRoom(): void
    },
  ) {}

  get size(): number {
    return this.sessions.size
  }

  get frozen(): LiveSession[] {
    return [...this.sessions.values()].filter((session) => session.freezing.isFrozen)
  }

  of(projectId: string): LiveSession[] {
    return [...this.sessions.values()].filter(({ ref }) => ref.projectId === projectId)
  }

  get(ref: SessionRef): LiveSession | undefined {
    return this.sessions.get(sessionKey(ref))
  }

  make({ projectId, sessionId }: SessionRef): LiveSession {
    return new LiveSession({ projectId, sessionId }, this.options, this.store, this.ahead)
  }

  /** A session whose sandbox an earlier process had: it is idle, until somebody uses it. */
  adopt(session: LiveSession): void {
    session.users += 1
    this.sessions.set(sessionKey(session.ref), session)
    this.release(session)
  }

  /**
   * Counts a user in where there is room for one. Sessions that were idle longest make it, then spare sandboxes. Undefined:
   * all are in use, and `onRoom` is called when that has changed. Each user is followed by one `release`.
   */
  async acquire(ref: SessionRef): Promise<LiveSession | undefined> {
    const key = sessionKey(ref)
    const unsaved = new Map<LiveSession, unknown>()
    for (;;) {
      await this.parking.get(key)
      if (this.parking.has(key)) continue
      // Looked at and taken in one step: two at once would both take the last room.
      if (this.sessions.has(key) || this.hasRoom) return this.use(ref)
      const idle = this.longestIdle((session) => !unsaved.has(session))
      if (!idle) {
        if (await this.others.endSpare()) continue
        const [failure] = unsaved.values()
        if (failure) throw failure
        this.refused = true
        return undefined
      }
      // One that can't be saved is kept, and must not keep the room of all others.
      await this.park(idle, 'idle').catch((error: unknown) => unsaved.set(idle, error))
    }
  }

  /** Whether a user can be counted in without anything that has to be awaited. */
  isReadyFor(ref: SessionRef): boolean {
    const key = sessionKey(ref)
    return !this.parking.has(key) && (this.sessions.has(key) || this.hasRoom)
  }

  /** For one more session: it takes the place of a spare sandbox where there are some. */
  private get hasRoom(): boolean {
    return this.sessions.size + Math.max(1, this.others.spares()) <= this.options.maxSandboxes
  }

  private longestIdle(may: (session: LiveSession) => boolean): LiveSession | undefined {
    const idle = [...this.sessions.values()].filter((session) => session.users === 0 && may(session))
    return idle.toSorted((a, b) => a.lastUsedMs - b.lastUsedMs)[0]
  }

  /** Saves the session that is frozen longest and frees its sandbox; false when there is none. */
  async parkFrozen(): Promise<boolean> {
    const frozen = this.longestIdle(({ freezing }) => freezing.isFrozen)
    if (frozen) await this.park(frozen, 'idle')
    return frozen !== undefined
  }

  /** Counts a user in, room or not; a frozen sandbox goes on. */
  async use(ref: SessionRef): Promise<LiveSession> {
    const key = sessionKey(ref)
    let session = this.sessions.get(key)
    if (!session) {
      session = this.make(ref)
      this.sessions.set(key, session)
    }
    session.users += 1
    this.stopTimers(key)
    // One that is gone meanwhile has nothing to thaw: `ready` finds that out.
    await session.thaw().catch(() => undefined)
    return session
  }

  release(session: LiveSession): void {
    session.users -= 1
    session.lastUsedMs = Date.now()
    if (session.users > 0) return
    if (this.refused) {
      this.refused = false
      this.others.onRoom()
    }
    const key = sessionKey(session.ref)
    if (!session.sandbox) {
      if (this.sessions.get(key) === session) this.sessions.delete(key)
      return
    }
    this.stopTimers(key)
    const { freezeMs, idleMs } = this.options
    const later = (ms: number, what: string, act: () => Promise<void>) =>
      setTimeout(() => void act().catch((error: unknown) => this.failed(session, what, error)), ms)
    this.timers.set(key, [
      later(freezeMs, 'an idle session could not be frozen', async () => {
        await session.freeze()
        this.others.onFrozen()
      }),
      later(idleMs, 'an idle session could not be saved', () => this.park(session, 'idle')),
    ])
  }

  /** Saves the session (also what a background process wrote since) and frees its sandbox; one that can't be saved is kept. */
  park(session: LiveSession, cause: 'idle' | 'close'): Promise<void> {
    const key = sessionKey(session.ref)
    const running = this.parking.get(key)
    if (running) return running
    this.stopTimers(key)
    if (session.users > 0) return Promise.resolve()
    const work = (async () => {
      const state = session.sandbox ? await this.store.session(session.ref) : undefined
      if (state && session.sandbox) {
        await session.lost.record(session.sandbox, state.epoch)
        await session.saveHead({ cause, epoch: state.epoch }).catch(async (error: unknown) => {
          if (isLost(error)) await this.forget(session)
          throw error
        })
      }
      await this.forget(session)
    })().finally(() => this.parking.delete(key))
    this.parking.set(key, work)
    return work
  }

  /** Saves it and frees its sandbox now. Throws SESSION_BUSY while it is in use. */
  async close(ref: SessionRef): Promise<void> {
    const session = this.get(ref)
    if (!session) return
    if (session.users > 0)
      throw new Vm0Error('SESSION_BUSY', `session ${ref.sessionId} is in use; expected its run to have ended`)
    await this.park(session, 'close')
  }

  /** Frees its sandbox without saving. */
  async discard(ref: SessionRef): Promise<void> {
    const session = this.get(ref)
    if (session) await this.forget(session)
  }

  /** Saves all of them. One that can't be saved does not keep the others from being saved. */
  async parkAll(): Promise<void> {
    const all = [...this.sessions.values()]
    await Promise.all(
      all.map((session) =>
        this.park(session, 'close').catch((error: unknown) =>
          this.failed(session, 'a session could not be saved', error),
        ),
      ),
    )
    await Promise.allSettled(this.parking.values())
  }

  async forget(session: LiveSession): Promise<void> {
    const key = sessionKey(session.ref)
    if (this.sessions.get(key) === session) this.sessions.delete(key)
    await session.discard()
  }

  private stopTimers(key: string): void {
    for (const timer of this.timers.get(key) ?? []) clearTimeout(timer)
    this.timers.delete(key)
  }

  private failed({ ref }: LiveSession, what: string, error: unknown): void {
    this.options.logger.error({ sessionId: ref.sessionId, error }, what)
  }
}
