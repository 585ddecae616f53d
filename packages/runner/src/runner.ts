import {
  defaultResources,
  Vm0Error,
  type Answer,
  type ClaimedRun,
  type ExecOutput,
  type ExecRequestParsed,
  type LiveSandbox,
  type RunnerPort,
  type RunnerStatus,
  type RunRef,
  type SessionRef,
} from '@vm0/contract'
import { OwnedRows } from './adoption/owned-rows.js'
import { Recovery } from './adoption/recovery.js'
import type { Stories } from './adoption/story.js'
import { FileCalls } from './file-calls.js'
import { liveSandbox } from './black-box/live-sandboxes.js'
import type { LiveSession } from './live-session.js'
import { LiveSessions, sessionKey } from './live-sessions.js'
import type { RunnerOptions } from './options.js'
import { kindOf } from './pool/kind.js'
import { WarmPool } from './pool/pool.js'
import { SandboxAhead } from './pool/sandbox-ahead.js'
import { makeWarmSandbox } from './pool/warm-sandbox.js'
import { reclaimLimits, Reclaimer } from './reclaim/index.js'
import { RunLife } from './run-life.js'
import { RunnerStore } from './store.js'

const runKeyOf = (ref: RunRef): string => `${ref.projectId}/${ref.runId}`
/** What a session that had no run yet is prepared for. */
const defaultFramework = 'claude-code'
/** How long a stop waits for a database that can't be reached. */
const stopPatienceMs = 10_000

/** A run on its way to its life. */
interface Claiming {
  cancelled: boolean
  /** Settles when it lives, or is known not to. */
  done: Promise<boolean>
}

/** Keeps the sessions that are in use on this host and lives their runs. */
export class Runner extends FileCalls implements RunnerPort {
  private readonly store: RunnerStore
  private readonly sessions: LiveSessions
  private readonly lives = new Map<string, { life: RunLife; done: Promise<void> }>()
  /** Runs that are being claimed, each with whether it was cancelled meanwhile. */
  private readonly claiming = new Map<string, Claiming>()
  /** Sessions that a run is being made for. */
  private readonly beginning = new Set<string>()
  private readonly patience = new AbortController()
  private readonly pool: WarmPool
  private readonly ahead: SandboxAhead
  private readonly reclaimer: Reclaimer | undefined
  private stopped = false

  constructor(private readonly options: RunnerOptions) {
    super()
    this.store = new RunnerStore(options.database, options.runnerId, this.patience.signal)
    const { pool, logger, reclaimBelow } = options
    const ahead = new SandboxAhead(options, pool.template)
    this.ahead = ahead
    ahead.onTaken = () => this.pool.fill()
    this.sessions = new LiveSessions(options, this.store, ahead, {
      spares: () => this.pool.size,
      endSpare: () => this.pool.shrink(),
      onFrozen: () => {
        this.pool.fill()
        this.reclaimer?.look()
      },
      onRoom: options.onRoom,
    })
    if (reclaimBelow > 0)
      this.reclaimer = new Reclaimer({
        limits: reclaimLimits(reclaimBelow),
        frozen: () => this.sessions.frozen,
        park: (session) => this.sessions.park(session, 'idle'),
        logger,
      })
    this.pool = new WarmPool({
      kind: {
        driver: options.findDriver(pool.framework),
        template: pool.template,
        resources: defaultResources,
        spec: {},
        projectId: null,
        // The built-in one is every project's.
        imageOf: '',
      },
      limits: pool.limits,
      make: (kind) => makeWarmSandbox(options, kind),
      newest: async (framework) => (await options.releases.newest(framework)).version,
      // A session that nobody has used for a while is sooner had again than a run started cold.
      makeRoom: async () => !this.isFull || ((await this.sessions.parkFrozen()) && !this.isFull),
      ahead,
      logger,
    })
  }

  private get isFull(): boolean {
    return this.sessions.size + this.pool.size >= this.options.maxSandboxes
  }

  async status(): Promise<RunnerStatus> {
    const { runnerId: id, maxSandboxes } = this.options
    const { size: sessions, frozen } = this.sessions
    return {
      id,
      sessions,
      frozen: frozen.length,
      reclaimed: frozen.filter(({ freezing }) => freezing.isReclaimed).length,
      reclaimedBytes: this.reclaimer?.reclaimedBytes ?? 0,
      warm: this.pool.size,
      prepared: this.ahead.size,
      maxSandboxes,
    }
  }

  async sandboxes(projectId: string): Promise<LiveSandbox[]> {
    const lives = new Map([...this.lives.values()].map(({ life }) => [sessionKey(life.ref), life]))
    const all = this.sessions.of(projectId).map((session) => liveSandbox(session, lives.get(sessionKey(session.ref))))
    return all.filter((each) => each !== undefined)
  }

  /** Begins to keep sandboxes warm; resolves when the first waits, with false when none does. */
  async warm(): Promise<boolean> {
    return this.pool.begin()
  }

  /**
   * Goes on with what an earlier process of this runner had at work: sandboxes that the engine has adopted, by the stories of
   * what was done in them. Says how many runs go on, and which ended as `died`.
   */
  async recover(stories: Stories): Promise<{ kept: number; lost: RunRef[] }> {
    const { database, runnerId } = this.options
    const rows = new OwnedRows(database, runnerId, this.patience.signal)
    const { runs, lost } = await new Recovery(this.options, rows, this.sessions, stories).recover()
    for (const { ref, claimed, session, before } of runs)
      this.live(new RunLife(this.options, this.store, session, ref, claimed, this.pool, before), session)
    return { kept: runs.length, lost }
  }

  async start(ref: RunRef): Promise<'accepted' | 'full'> {
    const session = this.stopped ? undefined : await this.sessions.acquire(ref)
    if (!session) return 'full'
    // One that was cancelled or taken meanwhile leaves nothing to do.
    await this.claim(ref, Promise.resolve(session), this.store.claimRun(ref))
    return 'accepted'
  }

  async begin(ref: RunRef, accept: (runnerId: string) => Promise<ClaimedRun | undefined>): Promise<boolean> {
    const isTaken = [...this.lives.values()].some(({ life }) => sessionKey(life.ref) === sessionKey(ref))
    if (this.stopped || isTaken || this.beginning.has(sessionKey(ref)) || !this.sessions.isReadyFor(ref)) return false
    this.beginning.add(sessionKey(ref))
    try {
      return await this.claim(
        ref,
        this.sessions.use(ref),
        this.store.claimMade(ref, () => accept(this.options.runnerId)),
      )
    } finally {
      this.beginning.delete(sessionKey(ref))
    }
  }

  /** Whoever cancels the run until it lives, or stops the runner, finds it in `claiming`. */
  private claim(ref: RunRef, using: Promise<LiveSession>, claim: Promise<ClaimedRun | undefined>): Promise<boolean> {
    const key = runKeyOf(ref)
    const claiming: Claiming = { cancelled: false, done: Promise.resolve(false) }
    this.claiming.set(key, claiming)
    claiming.done = this.liveClaimed(ref, using, claim, claiming).finally(() => {
      if (this.claiming.get(key) === claiming) this.claiming.delete(key)
    })
    return claiming.done
  }

  /** Lives the run where it could be claimed. */
  private async liveClaimed(
    ref: RunRef,
    using: Promise<LiveSession>,
    claim: Promise<ClaimedRun | undefined>,
    claiming: Claiming,
  ): Promise<boolean> {
    claim.catch(() => undefined) // told below: it may fail before the session is there
    const session = await using
    try {
      const claimed = await claim
      if (!claimed) {
        this.sessions.release(session)
        return false
      }
      this.options.logger.info({ ...ref, epoch: claimed.epoch }, 'the run was taken')
      const life = new RunLife(this.options, this.store, session, ref, claimed, this.pool)
      if (claiming.cancelled) life.stop('cancel')
      else if (this.stopped) life.stop('shutdown')
      this.live(life, session)
      return true
    } catch (error) {
      this.sessions.release(session)
      throw error
    }
  }

  private live(life: RunLife, session: LiveSession): void {
    const key = runKeyOf(life.ref)
    const done = life
      .run()
      .catch((error: unknown) =>
        this.options.logger.error({ ...life.ref, error }, 'the end of a run could not be written'),
      )
      .finally(() => {
        this.lives.delete(key)
        this.sessions.release(session)
        this.options.onRoom()
      })
    this.lives.set(key, { life, done })
  }

  async cancel(ref: RunRef): Promise<boolean> {
    const key = runKeyOf(ref)
    const claiming = this.claiming.get(key)
    if (claiming) claiming.cancelled = true
    const entry = this.lives.get(key)
    entry?.life.stop('cancel')
    return claiming !== undefined || entry !== undefined
  }

  async input(ref: RunRef, text: string): Promise<void> {
    const entry = this.lives.get(runKeyOf(ref))
    if (!entry) throw new Vm0Error('RUN_ENDED', `run ${ref.runId} is not at work`)
    await entry.life.input(text)
  }

  async answer(ref: RunRef, answer: Answer): Promise<void> {
    const entry = this.lives.get(runKeyOf(ref))
    if (!entry) throw new Vm0Error('RUN_ENDED', `run ${ref.runId} is not at work`)
    await entry.life.answer(answer)
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
      const { sandbox } = await session.ready()
      const chunks = sandbox.exec({
        args: command,
        signal: AbortSignal.any([signal, timeout]),
        ...(cwd ? { cwd } : {}),
        ...session.given(env),
        ...(stdin === undefined ? {} : { stdin: Buffer.from(stdin) }),
      })
      for await (const chunk of chunks) {
        if (timeout.aborted)
          throw new Vm0Error('TIMED_OUT', `the command took longer than ${timeoutMs} ms and was ended`)
        if ('exitCode' in chunk) yield { type: 'exit', exitCode: chunk.exitCode }
        else yield { type: chunk.stream, text: decoders[chunk.stream].decode(chunk.data, { stream: true }) }
      }
    } finally {
      this.sessions.release(session)
    }
  }

  async prewarm(ref: SessionRef): Promise<void> {
    const session = await this.take(ref)
    try {
      const driver = this.options.findDriver((await this.store.framework(ref)) ?? defaultFramework)
      await session.ready({
        takeWarm: (template, resources) => this.pool.take(kindOf({ driver, template, resources, launch: {}, ref })),
      })
      await session.prewarm(driver)
    } finally {
      this.sessions.release(session)
    }
  }

  async save(ref: SessionRef, name?: string): Promise<void> {
    await this.endings(ref)
    if (name === undefined && !this.sessions.get(ref)?.sandbox) return
    await this.using(ref, false, async (_sandbox, session) => {
      const state = await this.store.session(ref)
      if (state)
        await session.saveHead({ cause: 'manual', epoch: state.epoch, ...(name === undefined ? {} : { name }) })
    })
  }

  async close(ref: SessionRef): Promise<void> {
    await this.endings(ref)
    await this.sessions.close(ref)
  }

  /** Whoever saw a run's last event may use its session: the run itself is a moment behind. */
  private async endings(ref: SessionRef): Promise<void> {
    const ending = [...this.lives.values()].filter(
      ({ life }) => (life.ending || life.hasEnded) && sessionKey(life.ref) === sessionKey(ref),
    )
    await Promise.all(ending.map(({ done }) => done))
  }

  discard(ref: SessionRef): Promise<void> {
    return this.sessions.discard(ref)
  }

  /** Ends the runs at work as `died`, saves every session and frees all sandboxes. */
  async stop(): Promise<void> {
    this.stopped = true
    const timer = setTimeout(() => this.patience.abort(), stopPatienceMs)
    // What is being claimed ends like the others, as soon as it is.
    await Promise.allSettled([...this.claiming.values()].map(({ done }) => done))
    for (const { life } of this.lives.values()) life.stop('shutdown')
    await Promise.all([...this.lives.values()].map(({ done }) => done))
    await this.reclaimer?.close()
    await this.sessions.parkAll()
    await this.pool.close()
    clearTimeout(timer)
  }

  /** The session for a command or file operation: it belongs to this runner from now on. */
  protected async take(ref: SessionRef): Promise<LiveSession> {
    const session = this.stopped ? undefined : await this.sessions.acquire(ref)
    if (!session) throw new Vm0Error('NOT_READY', 'every sandbox of this host is in use; expected one to become free')
    if ((await this.store.claimSession(ref)) === undefined) {
      this.sessions.release(session)
      await this.sessions.forget(session)
      throw new Vm0Error('SESSION_DELETED', `session ${ref.sessionId} does not exist any more`)
    }
    return session
  }

  protected release(session: LiveSession): void {
    this.sessions.release(session)
  }
}
