import {
  noTimings,
  Vm0Error,
  type ExecOutput,
  type ExecRequestParsed,
  type FileEntry,
  type RunnerPort,
  type RunRef,
  type SessionRef,
} from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import * as files from './files.js'
import { isLost, LiveSession } from './live-session.js'
import type { RunnerOptions } from './options.js'
import { RunLife } from './run-life.js'
import { RunnerStore } from './store.js'

const keyOf = (ref: SessionRef): string => `${ref.projectId}/${ref.sessionId}`

/** Keeps the sessions that are in use on this host and lives their runs. */
export class Runner implements RunnerPort {
  private readonly store: RunnerStore
  private readonly sessions = new Map<string, LiveSession>()
  private readonly parking = new Map<string, Promise<void>>()
  private readonly idleTimers = new Map<string, NodeJS.Timeout>()
  private readonly lives = new Map<string, { life: RunLife; done: Promise<void> }>()
  private stopped = false

  constructor(private readonly options: RunnerOptions) {
    this.store = new RunnerStore(options.database, options.runnerId)
  }

  /** Ends, as `died`, what an earlier process of this runner had at work. */
  async recover(): Promise<number> {
    const error = {
      code: 'HOST_LOST',
      message: 'the platform ended while this run was at work',
      hint: 'The session is as it was after the last checkpoint: run again.',
    }
    const lost = await this.store.recoverLost(error)
    for (const { epoch, timings, ...ref } of lost) {
      const log = await this.options.eventLog.open(ref, epoch)
      log.append({
        type: 'run.finished',
        outcome: 'died',
        reason: 'host_lost',
        timings: { ...noTimings, ...timings },
        error,
      })
      await log.close()
    }
    return lost.length
  }

  async start(ref: RunRef): Promise<'accepted' | 'full'> {
    if (this.stopped || !(await this.makeRoom(ref))) return 'full'
    const session = await this.acquire(ref)
    try {
      const claimed = await this.store.claimRun(ref)
      if (!claimed) {
        this.release(session)
        return 'accepted' // cancelled or taken meanwhile: nothing is left to do
      }
      const life = new RunLife(this.options, this.store, session, ref, claimed)
      const done = life
        .run()
        .catch((error: unknown) =>
          this.options.logger.error({ runId: ref.runId, error }, 'the end of a run could not be written'),
        )
        .finally(() => {
          this.lives.delete(ref.runId)
          this.release(session)
          this.options.onRoom()
        })
      this.lives.set(ref.runId, { life, done })
      return 'accepted'
    } catch (error) {
      this.release(session)
      throw error
    }
  }

  async cancel(ref: RunRef): Promise<boolean> {
    const entry = this.lives.get(ref.runId)
    entry?.life.stop('cancel')
    return entry !== undefined
  }

  async input(ref: RunRef, text: string): Promise<void> {
    const entry = this.lives.get(ref.runId)
    if (!entry) throw new Vm0Error('RUN_ENDED', `run ${ref.runId} is not at work`)
    await entry.life.input(text)
  }

  async *exec(
    ref: SessionRef,
    { command, cwd, env, stdin, timeoutMs }: ExecRequestParsed,
    signal: AbortSignal,
  ): AsyncGenerator<ExecOutput> {
    const session = await this.take(ref)
    const timeout = AbortSignal.timeout(timeoutMs)
    const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() }
    try {
      session.dirty = true
      const chunks = (await session.ready(undefined)).sandbox.exec({
        args: command,
        signal: AbortSignal.any([signal, timeout]),
        ...(cwd ? { cwd } : {}),
        ...(env ? { env } : {}),
        ...(stdin === undefined ? {} : { stdin: Buffer.from(stdin) }),
      })
      for await (const chunk of chunks) {
        if (timeout.aborted)
          throw new Vm0Error('TIMED_OUT', `the command took longer than ${timeoutMs} ms and was ended`)
        if ('exitCode' in chunk) yield { type: 'exit', exitCode: chunk.exitCode }
        else yield { type: chunk.stream, text: decoders[chunk.stream].decode(chunk.data, { stream: true }) }
      }
    } finally {
      this.release(session)
    }
  }

  async readFile(ref: SessionRef, path: string): Promise<AsyncIterable<Uint8Array>> {
    const session = await this.take(ref)
    const release = (): void => this.release(session)
    try {
      const content = await files.readFile((await session.ready(undefined)).sandbox, path)
      return (async function* () {
        try {
          yield* content
        } finally {
          release()
        }
      })()
    } catch (error) {
      release()
      throw error
    }
  }

  writeFile(ref: SessionRef, path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    return this.using(ref, true, (sandbox) => files.writeFile(sandbox, path, content))
  }

  listFiles(ref: SessionRef, path: string): Promise<FileEntry[]> {
    return this.using(ref, false, (sandbox) => files.listFiles(sandbox, path))
  }

  removeFile(ref: SessionRef, path: string): Promise<void> {
    return this.using(ref, true, (sandbox) => files.removeFile(sandbox, path))
  }

  async close(ref: SessionRef): Promise<void> {
    const session = this.sessions.get(keyOf(ref))
    if (!session) return
    if (session.users > 0)
      throw new Vm0Error('SESSION_BUSY', `session ${ref.sessionId} is in use; expected its run to have ended`)
    await this.park(session, 'close')
  }

  async discard(ref: SessionRef): Promise<void> {
    const session = this.sessions.get(keyOf(ref))
    if (!session) return
    this.sessions.delete(keyOf(ref))
    await session.discard()
  }

  /** Ends the runs at work as cancelled, saves every session and frees all sandboxes. */
  async stop(): Promise<void> {
    this.stopped = true
    for (const { life } of this.lives.values()) life.stop('cancel')
    await Promise.all([...this.lives.values()].map(({ done }) => done))
    await Promise.all([...this.sessions.values()].map((session) => this.park(session, 'close')))
    await Promise.all(this.parking.values())
  }

  private async using<T>(ref: SessionRef, writes: boolean, use: (sandbox: Sandbox) => Promise<T>): Promise<T> {
    const session = await this.take(ref)
    try {
      const { sandbox } = await session.ready(undefined)
      if (writes) session.dirty = true
      return await use(sandbox)
    } finally {
      this.release(session)
    }
  }

  /** The session for a command or file operation: it belongs to this runner from now on. */
  private async take(ref: SessionRef): Promise<LiveSession> {
    if (this.stopped || !(await this.makeRoom(ref)))
      throw new Vm0Error('NOT_READY', 'every sandbox of this host is in use; expected one to become free')
    const session = await this.acquire(ref)
    if ((await this.store.claimSession(ref)) === undefined) {
      this.release(session)
      this.sessions.delete(keyOf(ref))
      throw new Vm0Error('SESSION_DELETED', `session ${ref.sessionId} does not exist any more`)
    }
    return session
  }

  private async acquire(ref: SessionRef): Promise<LiveSession> {
    const key = keyOf(ref)
    await this.parking.get(key)
    let session = this.sessions.get(key)
    if (!session) {
      session = new LiveSession({ projectId: ref.projectId, sessionId: ref.sessionId }, this.options, this.store)
      this.sessions.set(key, session)
    }
    session.users += 1
    clearTimeout(this.idleTimers.get(key))
    this.idleTimers.delete(key)
    return session
  }

  private release(session: LiveSession): void {
    session.users -= 1
    session.lastUsedMs = Date.now()
    if (session.users > 0) return
    const key = keyOf(session.ref)
    if (!session.sandbox) {
      if (this.sessions.get(key) === session) this.sessions.delete(key)
      return
    }
    clearTimeout(this.idleTimers.get(key))
    this.idleTimers.set(
      key,
      setTimeout(
        () =>
          void this.park(session, 'idle').catch((error: unknown) =>
            this.options.logger.error(
              { sessionId: session.ref.sessionId, error },
              'an idle session could not be saved',
            ),
          ),
        this.options.idleMs,
      ),
    )
  }

  private async makeRoom(ref: SessionRef): Promise<boolean> {
    if (this.sessions.has(keyOf(ref)) || this.sessions.size < this.options.maxSandboxes) return true
    const idle = [...this.sessions.values()]
      .filter((session) => session.users === 0)
      .toSorted((a, b) => a.lastUsedMs - b.lastUsedMs)[0]
    if (!idle) return false
    await this.park(idle, 'idle')
    return this.sessions.size < this.options.maxSandboxes
  }

  /** Saves the session (also what a background process wrote since) and frees its sandbox; one that can't be saved is kept. */
  private park(session: LiveSession, cause: 'idle' | 'close'): Promise<void> {
    const key = keyOf(session.ref)
    const running = this.parking.get(key)
    if (running) return running
    clearTimeout(this.idleTimers.get(key))
    this.idleTimers.delete(key)
    if (session.users > 0) return Promise.resolve()
    const work = (async () => {
      const state = session.sandbox ? await this.store.session(session.ref) : undefined
      if (state && session.sandbox) {
        const saved = await session.save(cause, null, null, state.epoch, null).catch(async (error: unknown) => {
          if (isLost(error)) await this.forget(session)
          throw error
        })
        if (session.changes(saved)) await this.store.commitHead(session.ref, state.epoch, saved)
      }
      await this.forget(session)
    })().finally(() => this.parking.delete(key))
    this.parking.set(key, work)
    return work
  }

  private async forget(session: LiveSession): Promise<void> {
    const key = keyOf(session.ref)
    if (this.sessions.get(key) === session) this.sessions.delete(key)
    await session.discard()
  }
}
