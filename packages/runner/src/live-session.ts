import { randomBytes } from 'node:crypto'
import type { CheckpointManifest, SavedCheckpoint } from '@vm0/checkpoints'
import { defaultResources, Vm0Error, type Resources, type RunSpec, type SessionRef } from '@vm0/contract'
import type { AgentProtocol, FrameworkDriver } from '@vm0/frameworks'
import type { ModelTraffic } from '@vm0/gateway'
import type { MonitoredProcess, OutputLine, Sandbox } from '@vm0/sandbox'
import type { RunnerOptions } from './options.js'
import { readAll } from './exec-output.js'
import type { RunnerStore, SessionState } from './store.js'

/** Bytes of each stream that one agent process may print over its life. */
const maxAgentOutputBytes = 2 * 1024 ** 3

export interface LiveAgent {
  process: MonitoredProcess
  protocol: AgentProtocol
  lines: AsyncIterator<OutputLine>
  /** What it was started with: another set needs another process. */
  launchKey: string
  version: string
}

/** A session that is in use on this host: its sandbox, its agent process, and what its next checkpoint stands on. */
export class LiveSession {
  sandbox: Sandbox | undefined
  agent: LiveAgent | undefined
  agentSessionId: string | null = null
  /** The run whose model traffic is observed. */
  traffic: ModelTraffic | undefined
  /** Something may have changed since the last checkpoint. */
  dirty = false
  users = 0
  lastUsedMs = Date.now()
  private opening: Promise<{ sandbox: Sandbox; how: 'cold' | 'session'; durationMs: number }> | undefined
  private baseLayers: CheckpointManifest['layers'] = []
  private head: string | null = null
  /** Digest of the top layer of the head. */
  private savedLayer: string | undefined
  private conversation: CheckpointManifest['conversation'] = null
  private unregister: (() => void) | undefined
  template = ''
  private saving: Promise<unknown> = Promise.resolve()

  constructor(
    readonly ref: SessionRef,
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
  ) {}

  /** The session's sandbox: the one that lives, or a new one made of the head's layers. The signal ends the unpacking. */
  async ready(
    resources: Resources | undefined,
    signal?: AbortSignal,
  ): Promise<{ sandbox: Sandbox; how: 'cold' | 'session'; durationMs: number }> {
    const { sandbox, opening } = this
    if (sandbox && !opening && (await sandbox.alive())) return { sandbox, how: 'session', durationMs: 0 }
    return this.renew(resources, signal)
  }

  /** A new sandbox. What the one before still holds is saved first: it has ended by itself, or nothing can be started in it. */
  async renew(resources: Resources | undefined, signal?: AbortSignal) {
    this.opening ??= this.saveAndRelease()
      .then(() => this.open(resources, signal))
      .finally(() => (this.opening = undefined))
    return this.opening
  }

  private async saveAndRelease(): Promise<void> {
    if (!this.sandbox) return
    const state = await this.store.session(this.ref)
    const { dirty } = this
    if (state)
      try {
        const saved = await this.save('exec', null, null, state.epoch, null)
        if (this.changes(saved) && (await this.store.commitHead(this.ref, state.epoch, saved))) this.committed(saved)
      } catch (error) {
        if (!isLost(error)) throw error
        await this.release()
        // Whoever comes next must know that something is missing.
        if (dirty) throw error
      }
    await this.release()
  }

  private async open(resources: Resources | undefined, signal: AbortSignal | undefined) {
    const startedMs = performance.now()
    const state = await this.store.session(this.ref)
    if (!state) throw new Vm0Error('SESSION_DELETED', `session ${this.ref.sessionId} does not exist any more`)
    const manifest = state.head ? await this.options.checkpoints.load(state.head) : undefined
    const [templateImage, layers] = await Promise.all([
      this.options.templateImage(state.template),
      manifest ? this.options.checkpoints.layerImages(manifest) : [],
    ])
    const sandbox = await this.options.engine.create({
      id: randomBytes(6).toString('hex'),
      templateImage,
      layers,
      resources: { ...defaultResources, ...state.resources, ...dropUndefined(resources) },
      platformMounts: await this.platformMounts(),
    })
    try {
      this.unregister = this.options.gateway.register(sandbox.address, {
        onRequest: (request) => this.traffic?.onRequest(request),
        onFirstByte: (response) => this.traffic?.onFirstByte(response),
        onProgress: () => this.traffic?.onProgress(),
        onEnd: (response) => this.traffic?.onEnd(response),
      })
      this.template = state.template
      this.head = state.head
      this.baseLayers = manifest?.layers ?? []
      this.savedLayer = manifest?.layers.at(-1)?.digest
      this.conversation = manifest?.conversation ?? null
      this.agentSessionId = state.agentSessionId
      if (!state.head && state.workspaceUpload) await this.unpack(sandbox, state.workspaceUpload, signal)
    } catch (error) {
      this.unregister?.()
      await sandbox.close()
      throw error
    }
    this.sandbox = sandbox
    return { sandbox, how: 'cold' as const, durationMs: performance.now() - startedMs }
  }

  private async platformMounts() {
    const mounts: { source: string; target: string }[] = []
    for (const framework of ['claude-code']) {
      for (const release of await this.options.releases.list(framework)) {
        mounts.push({ source: release.directory, target: releaseTarget(framework, release.version) })
      }
    }
    return mounts
  }

  /** Unpacks a tar that was uploaded before into /workspace, inside the sandbox: its names are not to be trusted. */
  async unpack(sandbox: Sandbox, digest: string, signal?: AbortSignal): Promise<void> {
    const name = `uploads/${this.ref.projectId}/${digest.replace(':', '-')}`
    const path = await this.options.blobs.localPath(name)
    if (!path)
      throw new Vm0Error(
        'WORKSPACE_INVALID',
        `the workspace upload ${digest} does not exist; expected it to be sent by PUT /v1/uploads/${digest} before`,
      )
    const { createReadStream } = await import('node:fs')
    const result = await readAll(
      sandbox.exec({
        args: ['tar', '-x', '--no-same-owner', '-C', '/workspace', '-f', '-'],
        stdin: createReadStream(path),
        ...(signal ? { signal } : {}),
      }),
      65_536,
    )
    const said = result.stderr.trim()
    if (/No space left/.test(said))
      throw new Vm0Error('SANDBOX_DISK_FULL', "the workspace upload does not fit on the session's disk")
    if (result.exitCode !== 0)
      throw new Vm0Error(
        'WORKSPACE_INVALID',
        `the workspace upload could not be unpacked: ${said.slice(0, 1000) || `tar ended with ${result.exitCode}`}`,
      )
    this.dirty = true
  }

  /** The agent process for this launch: the one that waits, or a new one that resumes the conversation. */
  async agentFor(
    driver: FrameworkDriver,
    spec: RunSpec,
    session: SessionState,
  ): Promise<{ agent: LiveAgent; started: boolean }> {
    const { sandbox } = this
    if (!sandbox) throw new Vm0Error('INTERNAL', 'an agent was asked for before its sandbox')
    const launchKey = JSON.stringify([
      driver.name,
      spec.model,
      spec.systemPrompt,
      spec.tools,
      spec.env,
      spec.limits?.turns,
    ])
    if (this.agent?.launchKey === launchKey) return { agent: this.agent, started: false }
    await this.stopAgent()
    const release = await this.options.releases.newest(driver.name)
    const resume = this.conversation && this.conversation.framework !== driver.name ? null : this.agentSessionId
    const launch = driver.launch({
      releaseDir: releaseTarget(driver.name, release.version),
      gatewayUrl: sandbox.gatewayUrl,
      resume,
      spec: {
        model: spec.model,
        systemPrompt: spec.systemPrompt,
        tools: spec.tools,
        env: spec.env,
        maxTurns: spec.limits?.turns,
      },
    })
    const process = await sandbox.spawn({
      id: `agent-${randomBytes(4).toString('hex')}`,
      ...launch,
      maxOutputBytes: maxAgentOutputBytes,
    })
    this.agent = {
      process,
      protocol: driver.open({ resumed: resume !== null, previousCostUsd: session.costUsd }),
      lines: process.output()[Symbol.asyncIterator](),
      launchKey,
      version: release.version,
    }
    void process.exited.then(() => {
      // Between two runs nobody reads its output: the next run starts another one.
      if (this.agent?.process === process && !this.traffic) this.agent = undefined
    })
    return { agent: this.agent, started: true }
  }

  async stopAgent(): Promise<void> {
    const agent = this.agent
    this.agent = undefined
    if (!agent) return
    await agent.process.kill('SIGKILL')
    await agent.process.exited
  }

  /**
   * Packs what changed under a short freeze. The caller commits; `committed` then makes it the parent of the next one.
   * Checkpoints of a session follow one another: two at once would both claim the same parent.
   */
  async save(
    cause: CheckpointManifest['cause'],
    runId: string | null,
    outcome: string | null,
    epoch: number,
    conversation: CheckpointManifest['conversation'],
  ): Promise<SavedCheckpoint> {
    const work = this.saving.then(async () => {
      const { sandbox } = this
      if (!sandbox) throw new Vm0Error('CHECKPOINT_FAILED', 'the sandbox is gone; expected a live one to save from')
      await sandbox.freeze()
      try {
        this.dirty = false
        return await sandbox.withUpperView((upper) =>
          this.options.checkpoints.save({
            manifest: {
              ...this.ref,
              runId,
              parent: this.head,
              cause,
              outcome,
              epoch,
              template: this.template,
              conversation: conversation ?? this.conversation,
            },
            baseLayers: this.baseLayers,
            upper,
          }),
        )
      } catch (error) {
        this.dirty = true
        throw error
      } finally {
        await sandbox.thaw()
      }
    })
    this.saving = work.catch(() => undefined)
    return work
  }

  committed(saved: SavedCheckpoint): void {
    this.head = saved.id
    this.savedLayer = saved.manifest.layers.at(-1)?.digest
    this.conversation = saved.manifest.conversation
  }

  /** Whether a checkpoint holds anything that the head doesn't. */
  changes(saved: SavedCheckpoint): boolean {
    return saved.manifest.layers.at(-1)?.digest !== this.savedLayer
  }

  /** Frees the sandbox without saving. Idempotent. */
  async discard(): Promise<void> {
    await this.opening?.catch(() => undefined)
    await this.saving
    await this.release()
  }

  private async release(): Promise<void> {
    const { sandbox } = this
    this.sandbox = undefined
    this.agent = undefined
    this.unregister?.()
    this.unregister = undefined
    await sandbox?.close()
  }
}

/** The sandbox has lost something that was written in it: it must not be saved, nor go on. */
export function isLost(error: unknown): boolean {
  return error instanceof Vm0Error && error.code === 'HOST_DISK_FULL'
}

export function releaseTarget(framework: string, version: string): string {
  return `/opt/vm0/agents/${framework}/${version}`
}

function dropUndefined(resources: Resources | undefined): Partial<Required<Resources>> {
  return Object.fromEntries(Object.entries(resources ?? {}).filter(([, value]) => value !== undefined))
}
