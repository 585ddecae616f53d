import type { SavedCheckpoint } from '@vm0/checkpoints'
import { Vm0Error, type ClaimedSession, type SessionRef } from '@vm0/contract'
import type { FrameworkDriver, LaunchSpec } from '@vm0/frameworks'
import type { ModelTraffic } from '@vm0/gateway'
import type { Sandbox } from '@vm0/sandbox'
import { Journal } from './adoption/journal.js'
import type { RunnerOptions, TemplateAbout } from './options.js'
import { Freezing } from './freezing.js'
import { writeLines, agentOf, bind, startAgent, type LiveAgent } from './live-agent.js'
import { LostProcessRecord } from './lost-processes.js'
import type { ReadyRequest, ReadySandbox } from './ready-sandbox.js'
import { makeSandbox, wantedResources } from './session-sandbox.js'
import type { SandboxAhead } from './pool/sandbox-ahead.js'
import { SavedState, type SaveReason, type WhileFrozen } from './saved-state.js'
import type { RunnerStore } from './store.js'
import { unpackUpload } from './workspace-upload.js'

/** A session that is in use on this host: its sandbox, its agent process, and what its next checkpoint stands on. */
export class LiveSession {
  sandbox: Sandbox | undefined
  agent: LiveAgent | undefined
  agentSessionId: string | null = null
  /** The run whose model traffic is observed. */
  traffic: ModelTraffic | undefined
  /** Called when a checkpoint of it has become its head. */
  onCommitted: (() => void) | undefined
  readonly lost: LostProcessRecord
  /** Something may have changed since the last checkpoint. */
  dirty = false
  /** Files were put in since the agent started. */
  private filesChanged = false
  users = 0
  readonly freezing = new Freezing(() => this.sandbox)
  lastUsedMs = Date.now()
  private opening: Promise<ReadySandbox> | undefined
  private saved: SavedState | undefined
  private turn: Promise<unknown> = Promise.resolve()
  private warming: Promise<void> | undefined
  private about: TemplateAbout = { name: null, env: {} }
  private unregister: (() => void) | undefined
  /** Tells a later process of this runner what became of the sandbox. */
  private journal: Journal | undefined

  constructor(
    readonly ref: SessionRef,
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
    private readonly ahead: SandboxAhead,
  ) {
    this.lost = new LostProcessRecord(ref, store)
  }

  /** The session's sandbox: the one that lives, or a new one made of the head's layers. */
  async ready(request: ReadyRequest = {}): Promise<ReadySandbox> {
    const { sandbox, opening } = this
    if (sandbox && !opening && (await sandbox.alive())) return { sandbox, how: 'session' }
    return this.renew(request)
  }

  /** A new sandbox. What the one before still holds is saved first: it has ended by itself, or nothing can be started in it. */
  async renew(request: ReadyRequest = {}): Promise<ReadySandbox> {
    // What is saved here is newer than a row that was read before.
    const known = this.sandbox ? undefined : request.known
    this.opening ??= this.saveAndRelease()
      .then(() => this.open({ ...request, known }))
      .finally(() => (this.opening = undefined))
    return this.opening
  }

  private async saveAndRelease(): Promise<void> {
    if (!this.sandbox) return
    const state = await this.store.session(this.ref)
    const { dirty } = this
    if (state)
      try {
        await this.lost.record(this.sandbox, state.epoch)
        await this.saveHead({ cause: 'exec', epoch: state.epoch })
      } catch (error) {
        if (!isLost(error)) throw error
        await this.release()
        // Whoever comes next must know that something is missing.
        if (dirty) throw error
      }
    await this.release()
  }

  private async open({ resources, known, takeWarm, signal }: ReadyRequest): Promise<ReadySandbox> {
    const state = known ?? (await this.store.session(this.ref))
    if (!state) throw new Vm0Error('SESSION_DELETED', `session ${this.ref.sessionId} does not exist any more`)
    const wanted = wantedResources(state.resources, resources)
    const manifest = state.head ? await this.options.checkpoints.load(state.head) : undefined
    const template = manifest?.template ?? state.template
    const { projectId } = this.ref
    this.about = await this.options.templates.about(template, projectId)
    const warm = manifest ? undefined : takeWarm?.(template, wanted)
    const sandbox =
      warm?.sandbox ??
      (await makeSandbox(this.options, this.ahead, { projectId, template, manifest, resources: wanted }))
    try {
      warm?.release()
      this.journal = new Journal(sandbox.records)
      const { head: base, epoch } = state
      this.journal.add({ t: 'session', v: 1, ...this.ref, base, epoch, atMs: Date.now() })
      if (warm) this.keep(agentOf(warm, this.keeping))
      this.register(sandbox)
      this.saved = new SavedState(this.ref, this.options.checkpoints, state, manifest, manifest)
      this.agentSessionId = state.agentSessionId
      if (!state.head && state.workspaceUpload) await this.unpack(sandbox, state.workspaceUpload, signal)
    } catch (error) {
      this.unregister?.()
      this.agent = undefined
      this.journal?.close()
      await sandbox.close()
      throw error
    }
    this.sandbox = sandbox
    this.lost.opened(state.lostProcesses)
    return { sandbox, how: warm ? 'warm' : 'cold' }
  }

  /** Takes over its sandbox, which an earlier process has made from the checkpoint `base`. What ran in it goes on. */
  async adopt(sandbox: Sandbox, base: string | null, state: ClaimedSession): Promise<Journal> {
    const { checkpoints } = this.options
    const [manifest, mounted] = await Promise.all(
      [state.head, base].map((id) => (id === null ? undefined : checkpoints.load(id))),
    )
    this.saved = new SavedState(this.ref, checkpoints, state, manifest, mounted)
    this.about = await this.options.templates.about(this.saved.template, this.ref.projectId)
    this.agentSessionId = state.agentSessionId
    this.dirty = true
    this.filesChanged = true
    this.journal = new Journal(sandbox.records)
    this.register(sandbox)
    this.sandbox = sandbox
    return this.journal
  }

  private register(sandbox: Sandbox): void {
    this.unregister = this.options.gateway.register(sandbox.address, {
      onRequest: (request) => this.traffic?.onRequest(request),
      onBody: (request) => this.traffic?.onBody?.(request),
      onFirstByte: (response) => this.traffic?.onFirstByte(response),
      onProgress: () => this.traffic?.onProgress(),
      onEnd: (response) => this.traffic?.onEnd(response),
    })
  }

  private get keeping() {
    return { secrets: this.options.secrets, journal: this.journal }
  }

  /** Unpacks an upload into /workspace. */
  async unpack(sandbox: Sandbox, digest: string, signal?: AbortSignal): Promise<void> {
    await unpackUpload(sandbox, this.options.blobs, { projectId: this.ref.projectId, digest }, signal)
    this.dirty = true
    this.filesChanged = true
  }

  /** Has an agent wait for the session's next prompt, where none does yet. */
  prewarm(driver: FrameworkDriver): Promise<void> {
    const start = async (): Promise<void> => void (this.agent ?? (await this.startFor(driver, this.given(undefined))))
    return (this.warming ??= start().finally(() => (this.warming = undefined)))
  }

  /** The agent process for this run: the one that waits, bound to what the run asks for, or a new one that resumes the conversation. */
  async agentFor(driver: FrameworkDriver, asked: LaunchSpec): Promise<LiveAgent> {
    const spec = { ...asked, ...this.given(asked.env) }
    await this.warming?.catch(() => undefined)
    const { agent } = this
    const binding = agent?.framework === driver.name ? driver.rebind(agent.spec, spec) : undefined
    if (agent && binding) {
      const reload = this.filesChanged && this.agentSessionId === null ? agent.protocol.reload() : []
      await writeLines(agent, [...reload, ...binding])
      this.filesChanged = false
      bind(agent, spec, this.options.secrets)
      return agent
    }
    await this.stopAgent()
    return this.startFor(driver, spec)
  }

  /** The variables of a command or an agent: what the template gives, under what is asked for. */
  given(env: Record<string, string> | undefined): { env?: Record<string, string> } {
    return env || Object.keys(this.about.env).length > 0 ? { env: { ...this.about.env, ...env } } : {}
  }

  private async startFor(driver: FrameworkDriver, spec: LaunchSpec): Promise<LiveAgent> {
    const { sandbox } = this
    if (!sandbox) throw new Vm0Error('INTERNAL', 'an agent was asked for before its sandbox')
    const conversation = this.saved?.conversation
    const resume = conversation && conversation.framework !== driver.name ? null : this.agentSessionId
    this.filesChanged = false
    return this.keep(await startAgent(this.options.releases, { sandbox, driver, spec, resume }, this.keeping))
  }

  keep(agent: LiveAgent): LiveAgent {
    this.agent = agent
    void agent.process.exited.then(() => {
      // Between two runs nobody reads its output: the next run starts another one.
      if (this.agent === agent && !this.traffic) this.agent = undefined
    })
    return agent
  }

  /** The next agent process begins a new conversation. */
  async forgetConversation(): Promise<void> {
    this.agentSessionId = null
    await this.stopAgent()
  }

  async stopAgent(): Promise<void> {
    const agent = this.agent
    this.agent = undefined
    if (!agent) return
    await agent.process.kill('SIGKILL')
    await agent.process.exited
  }

  /** Saves and their commits follow one another: `work` is a save with what follows on it. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work)
    this.turn = done.catch(() => undefined)
    return done
  }

  /** Saves the session as it is now, as its head. Where nothing has changed the head stays, unless the reason has a name. */
  saveHead(reason: SaveReason): Promise<void> {
    return this.inTurn(async () => {
      const saved = await this.save(reason)
      if (reason.name === undefined && !this.saved?.changes(saved)) return
      if (await this.store.commitHead(this.ref, reason.epoch, saved)) this.committed(saved)
    })
  }

  /** In turn: saves what changed since the last commit, under a short freeze. The caller commits, then calls `committed`. */
  async save(reason: SaveReason): Promise<SavedCheckpoint> {
    return this.saving((sandbox, saved, whileFrozen) => saved.save(sandbox, reason, whileFrozen))
  }

  /** In turn: the same where anything but what is at `ignored` has changed; `onThaw` is called as soon as the sandbox goes on. */
  async saveIfChanged(
    reason: SaveReason,
    ignored: readonly string[],
    onThaw: () => void,
  ): Promise<SavedCheckpoint | undefined> {
    return this.saving((sandbox, saved, whileFrozen) =>
      saved.saveIfChanged(sandbox, reason, ignored, (capture) => whileFrozen(capture).finally(onThaw)),
    )
  }

  private async saving<T>(
    save: (sandbox: Sandbox, saved: SavedState, whileFrozen: WhileFrozen) => Promise<T>,
  ): Promise<T> {
    const { sandbox, saved } = this
    if (!sandbox || !saved)
      throw new Vm0Error('CHECKPOINT_FAILED', 'the sandbox is gone; expected a live one to save from')
    try {
      return await save(sandbox, saved, (capture) => this.whileFrozen(sandbox, capture))
    } catch (error) {
      this.dirty = true
      throw error
    }
  }

  /** Unless somebody uses it; a run that waits for a person uses nothing. */
  freeze({ waiting = false } = {}): Promise<void> {
    return this.freezing.freeze(() => this.users === 0 || waiting)
  }

  thaw(): Promise<void> {
    return this.freezing.thaw()
  }

  private whileFrozen(sandbox: Sandbox, capture: () => Promise<void>): Promise<void> {
    return this.freezing.during(sandbox, () => {
      this.dirty = false
      return capture()
    })
  }

  committed(saved: SavedCheckpoint): void {
    this.saved?.committed(saved)
    this.onCommitted?.()
  }

  /** By its name where it has one, else its digest. */
  get template(): string {
    return this.about.name ?? this.saved?.template ?? ''
  }

  /** Frees the sandbox without saving. Idempotent. */
  async discard(): Promise<void> {
    await this.opening?.catch(() => undefined)
    await this.turn
    await this.release()
  }

  private async release(): Promise<void> {
    // A frozen process can't be ended on every kernel.
    await this.thaw().catch(() => undefined)
    const { sandbox } = this
    this.sandbox = undefined
    this.agent = undefined
    this.unregister?.()
    this.unregister = undefined
    const { saved } = this
    this.saved = undefined
    this.journal?.close()
    await Promise.all([sandbox?.close(), saved?.close()])
  }
}

/** The sandbox has lost something that was written in it: it must not be saved, nor go on. */
export function isLost(error: unknown): boolean {
  return error instanceof Vm0Error && error.code === 'HOST_DISK_FULL'
}
