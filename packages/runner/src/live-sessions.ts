import { Vm0Error, type SessionRef } from '@vm0/contract'
import { isLost, LiveSession } from './live-session.js'
import type { RunnerOptions } from './options.js'
import type { RunnerStore } from './store.js'

export const sessionKey = (ref: SessionRef): string => `${ref.projectId}/${ref.sessionId}`

/**
 * The sessions that hold a sandbox on this host.
 *
 *   used ──last user leaves──▶ idle ──freezeMs──▶ frozen ──idleMs──▶ saved and gone
 *     ▲                          │                  │
 *     └──────── acquire ─────────┴──────────────────┘
 */
export class LiveSessions {
  private readonly sessions = new Map<string, LiveSession>()
  private readonly parking = new Map<string, Promise<void>>()
  private readonly timers = new Map<string, NodeJS.Timeout[]>()

  constructor(
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
    /** A session has no user any more: its room can be had. */
    private readonly onIdle: () => void,
  ) {}

  get size(): number {
    return this.sessions.size
  }

  get frozen(): number {
    return [...this.sessions.values()].filter((session) => session.isFrozen).length
  }

  of(projectId: string): LiveSession[] {
    return [...this.sessions.values()].filter(({ ref }) => ref.projectId === projectId)
  }

  get(ref: SessionRef): LiveSession | undefined {
    return this.sessions.get(sessionKey(ref))
  }

  /** Whether the session may have a sandbox; the one that was idle longest makes room for it. */
  async makeRoom(ref: SessionRef): Promise<boolean> {
    if (this.get(ref) || this.sessions.size < this.options.maxSandboxes) return true
    const idle = [...this.sessions.values()]
      .filter((session) => session.users === 0)
      .toSorted((a, b) => a.lastUsedMs - b.lastUsedMs)[0]
    if (!idle) return false
    await this.park(idle, 'idle')
    return this.sessions.size < this.options.maxSandboxes
  }

  make({ projectId, sessionId }: SessionRef): LiveSession {
    return new LiveSession({ projectId, sessionId }, this.options, this.store)
  }

  /** A session whose sandbox an earlier process had: it is idle, until somebody uses it. */
  adopt(session: LiveSession): void {
    session.users += 1
    this.sessions.set(sessionKey(session.ref), session)
    this.release(session)
  }

  /** Counts a user in; a frozen sandbox goes on. Each is followed by one `release`. */
  async acquire(ref: SessionRef): Promise<LiveSession> {
    const key = sessionKey(ref)
    await this.parking.get(key)
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
    this.onIdle()
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
      later(freezeMs, 'an idle session could not be frozen', () => session.freeze()),
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
