import type { EventWriter } from '@vm0/backends'
import type { SavedCheckpoint } from '@vm0/checkpoints'
import {
  noTimings,
  noUsage,
  toVm0Error,
  Vm0Error,
  type CreateRunParsed,
  type EventBody,
  type RunRef,
  type Timings,
} from '@vm0/contract'
import type { FrameworkDriver, TurnEnd } from '@vm0/frameworks'
import { failure, type Ending } from './ending.js'
import { isLost, type LiveAgent, type LiveSession } from './live-session.js'
import { ModelPatience, type ModelFailure } from './model-patience.js'
import { observeTraffic } from './model-traffic.js'
import type { RunnerOptions } from './options.js'
import type { ClaimedRun, RunnerStore } from './store.js'

/** How long an agent may take to end its turn after an interrupt. */
const interruptGraceMs = 5_000

/** One run from its claim to its outcome. */
export class RunLife {
  private readonly timings: Timings = { ...noTimings }
  private log!: EventWriter
  private agent: LiveAgent | undefined
  private driver: FrameworkDriver | undefined
  private stopping: 'cancel' | 'timeout' | 'unauthorized' | 'model' | undefined
  private killTimer: NodeJS.Timeout | undefined
  private started = false
  private lastStderr = ''
  private turn: TurnEnd | undefined
  private readonly patience: ModelPatience
  private modelFailure: ModelFailure | undefined
  private readonly stopped = new AbortController()
  private how: 'cold' | 'session' = 'cold'
  private readonly failure = failure

  constructor(
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
    private readonly session: LiveSession,
    readonly ref: RunRef,
    private readonly claimed: ClaimedRun,
  ) {
    this.patience = new ModelPatience(options.modelPatienceMs, (failure) => {
      this.modelFailure = failure
      this.stop('model')
    })
  }

  async run(): Promise<void> {
    this.timings.queuedMs = this.sinceCreated()
    this.log = await this.options.eventLog.open(this.ref, this.claimed.epoch)
    let timer: NodeJS.Timeout | undefined
    let ending: Ending
    try {
      const spec = JSON.parse(this.options.secrets.open(this.claimed.spec)) as CreateRunParsed
      if (spec.limits?.timeoutMs)
        timer = setTimeout(() => this.stop('timeout'), Math.max(1, spec.limits.timeoutMs - this.sinceCreated()))
      this.driver = this.options.findDriver(spec.framework)
      ending = await this.attempt(spec, this.driver)
      if (ending.error?.code === 'AGENT_START_FAILED' && this.how === 'session' && !this.stopping) {
        // What was left running in the session's sandbox may leave no room for an agent.
        await this.session.renew(spec.resources)
        ending = await this.attempt(spec, this.driver)
      }
    } catch (error) {
      ending = this.endingOf(toVm0Error(error))
      if (!this.session.sandbox)
        this.options.logger.warn({ runId: this.ref.runId, error }, 'run ended before its sandbox was ready')
    } finally {
      clearTimeout(timer)
      clearTimeout(this.killTimer)
      this.patience.close()
      this.session.traffic = undefined
    }
    await this.finish(ending)
  }

  /** Asks the agent to end its turn; kills it when it doesn't within the grace time. */
  stop(why: 'cancel' | 'timeout' | 'unauthorized' | 'model'): void {
    if (this.stopping) return
    this.stopping = why
    this.stopped.abort()
    const { agent } = this
    if (!agent) return
    void this.writeAll(agent, agent.protocol.interrupt())
    this.killTimer = setTimeout(() => void agent.process.kill('SIGKILL'), interruptGraceMs)
  }

  async input(text: string): Promise<void> {
    if (!this.agent)
      throw new Vm0Error('NOT_READY', 'the agent has not started yet; expected input after the run.started event')
    this.log.append({ type: 'input.sent', text })
    await this.writeAll(this.agent, this.agent.protocol.input(text))
  }

  private async attempt(spec: CreateRunParsed, driver: FrameworkDriver): Promise<Ending> {
    this.lastStderr = ''
    await this.prepare(spec, driver)
    return this.turns(spec)
  }

  private async prepare(spec: CreateRunParsed, driver: FrameworkDriver): Promise<void> {
    this.observeTraffic()
    const { sandbox, how, durationMs } = await this.session.ready(spec.resources, this.stopped.signal)
    this.how = how
    if (spec.workspaceUpload) await this.session.unpack(sandbox, spec.workspaceUpload, this.stopped.signal)
    const state = await this.store.session(this.ref)
    if (!state) throw new Vm0Error('SESSION_DELETED', `session ${this.ref.sessionId} was deleted`)
    this.checkStopped()
    const { agent } = await this.session.agentFor(driver, spec, state)
    this.agent = agent
    this.timings.sandboxReadyMs = this.sinceCreated()
    this.log.append({
      type: 'sandbox.ready',
      sandboxId: sandbox.id,
      how,
      durationMs,
      template: this.session.template,
      agentVersion: agent.version,
    })
    if (
      this.timings.promptSentMs === null &&
      !(await this.store.markRunning(this.ref, this.claimed.epoch, agent.version))
    )
      throw new Vm0Error('HOST_LOST', 'another runner has taken the session over')
    this.checkStopped()
    this.session.dirty = true
    this.patience.prompted()
    await this.writeAll(agent, agent.protocol.prompt(spec.prompt))
    this.timings.promptSentMs = this.sinceCreated()
  }

  private checkStopped(): void {
    if (this.stopping)
      throw new Vm0Error(
        this.stopping === 'cancel' ? 'CANCELLED' : 'TIMED_OUT',
        'the run was stopped before its prompt was sent',
      )
  }

  private async turns(spec: CreateRunParsed): Promise<Ending> {
    const agent = this.agent as LiveAgent
    const killsBefore = (await this.session.sandbox?.stats())?.oomKills ?? 0
    for (;;) {
      const { value: line, done } = await agent.lines.next()
      if (done) return this.agentGone(agent, killsBefore)
      if (line.stream === 'stderr') {
        this.lastStderr = `${this.lastStderr}${line.text}\n`.slice(-4000)
        this.log.append({ type: 'stderr', text: line.text.slice(0, 16_384) }, line.timeMs)
        continue
      }
      const { events, replies, agentSessionId, turnEnd } = agent.protocol.translate(line.text, line.timeMs)
      for (const event of events) this.record(event, line.timeMs)
      if (replies.length > 0) await this.writeAll(agent, replies)
      if (agentSessionId) this.session.agentSessionId = agentSessionId
      if (!turnEnd) continue
      this.turn = turnEnd
      this.timings.agentFinishedMs = this.sinceCreated(line.timeMs)
      return this.endingOfTurn(turnEnd, spec)
    }
  }

  private record(event: EventBody, timeMs: number): void {
    if (event.type === 'run.started') this.started = true
    if (
      (event.type === 'message.delta' || event.type === 'message' || event.type === 'tool.started') &&
      this.timings.firstTokenMs === null
    )
      this.timings.firstTokenMs = this.sinceCreated(timeMs)
    this.log.append(event, timeMs)
  }

  private endingOfTurn({ reason, error }: TurnEnd, spec: CreateRunParsed): Ending {
    if (this.stopping === 'cancel') return this.failure('cancelled', 'cancelled', 'CANCELLED', 'the run was cancelled')
    if (this.stopping === 'timeout')
      return this.failure(
        'failed',
        'timed_out',
        'TIMED_OUT',
        `the run took longer than its limit of ${spec.limits?.timeoutMs} ms`,
      )
    if (this.stopping === 'unauthorized')
      return this.failure(
        'failed',
        'model_unauthorized',
        'MODEL_UNAUTHORIZED',
        "the model endpoint refused the platform's key",
      )
    if (this.modelFailure) {
      const { code, message, details } = this.modelFailure
      if (code === 'AGENT_START_FAILED') return this.failure('died', 'agent_hung', code, message)
      return this.failure('failed', code.toLowerCase(), code, message, details)
    }
    if (error)
      return this.failure(
        'failed',
        reason === 'max_turns' ? 'max_turns' : error.code.toLowerCase(),
        error.code,
        error.message,
        error.httpStatus ? { httpStatus: error.httpStatus } : undefined,
      )
    return { state: 'succeeded', reason: null, error: null }
  }

  private async agentGone(agent: LiveAgent, killsBefore: number): Promise<Ending> {
    this.session.agent = undefined
    const { exitCode, reason } = await agent.process.exited
    if (this.stopping)
      return this.endingOfTurn(
        { reason: 'interrupted', text: '', usage: noUsage, costUsd: 0, error: null },
        {} as CreateRunParsed,
      )
    const lost = this.session.sandbox?.failure
    if (lost) return this.failure('died', lost.code.toLowerCase(), lost.code, lost.message)
    const details = { exitCode, stderr: this.lastStderr.trim() }
    const stats = await this.session.sandbox?.stats().catch(() => undefined)
    if (stats && stats.oomKills > killsBefore)
      return this.failure(
        'died',
        'out_of_memory',
        'OUT_OF_MEMORY',
        `the agent was killed at the sandbox's memory limit (peak ${Math.round(stats.memoryPeakBytes / 1024 ** 2)} MiB)`,
        details,
      )
    if (reason === 'output_limit')
      return this.failure(
        'died',
        'output_limit',
        'AGENT_CRASHED',
        'the agent printed more than is kept of one process',
        details,
      )
    if (!this.started)
      return this.failure(
        'died',
        'agent_crashed',
        'AGENT_START_FAILED',
        `the agent ended with status ${exitCode} before its first message: ${this.lastStderr.trim().slice(-500) || 'it said nothing'}`,
        details,
      )
    return this.failure(
      'died',
      'agent_crashed',
      'AGENT_CRASHED',
      `the agent ended with status ${exitCode} in the middle of its turn`,
      details,
    )
  }

  private endingOf(error: Vm0Error): Ending {
    if (this.stopping === 'cancel') return this.failure('cancelled', 'cancelled', 'CANCELLED', 'the run was cancelled')
    if (this.stopping === 'timeout') error = new Vm0Error('TIMED_OUT', 'the time limit came before the prompt was sent')
    const died = ['SANDBOX_START_FAILED', 'HOST_DISK_FULL', 'HOST_LOST', 'INTERNAL'].includes(error.code)
    return this.failure(died ? 'died' : 'failed', error.code.toLowerCase(), error.code, error.message, error.details)
  }

  /** Saves what there is, then writes outcome and head in one transaction, then tells. */
  private async finish(ending: Ending): Promise<void> {
    let saved: SavedCheckpoint | null = null
    if (this.session.sandbox && this.timings.promptSentMs !== null) {
      const { agentSessionId } = this.session
      const conversation =
        agentSessionId && this.driver && this.agent
          ? { framework: this.driver.name, agentSessionId, agentVersion: this.agent.version }
          : null
      try {
        saved = await this.session.save('run', this.ref.runId, ending.state, this.claimed.epoch, conversation)
      } catch (error) {
        const failure = toVm0Error(error, 'CHECKPOINT_FAILED')
        this.options.logger.error({ runId: this.ref.runId, error }, 'checkpoint failed')
        if (isLost(error)) {
          ending = this.failure('died', 'host_disk_full', failure.code, failure.message)
          await this.session.discard()
        } else if (ending.state === 'succeeded')
          ending = this.failure('failed', 'checkpoint_failed', 'CHECKPOINT_FAILED', failure.message)
      }
    }
    this.timings.totalMs = this.sinceCreated()
    const text = this.turn ? this.options.secrets.seal(this.turn.text) : null
    const committed = await this.store.endRun(
      this.ref,
      this.claimed.epoch,
      { ...ending, text, usage: this.turn?.usage ?? noUsage, costUsd: this.turn?.costUsd ?? 0, timings: this.timings },
      saved,
    )
    if (!committed) {
      this.options.logger.warn(
        { runId: this.ref.runId },
        'the run ended elsewhere: another runner owns the session now',
      )
      await this.log.close()
      return
    }
    if (saved) {
      this.session.committed(saved)
      this.log.append({
        type: 'checkpoint.committed',
        checkpoint: saved.id,
        cause: saved.manifest.cause,
        changedFiles: saved.changedFiles,
        sizeBytes: saved.sizeBytes,
        durationMs: saved.durationMs,
      })
    }
    this.log.append({
      type: 'run.finished',
      outcome: ending.state,
      reason: ending.reason,
      timings: this.timings,
      error: ending.error,
    })
    await this.log.close()
  }

  private observeTraffic(): void {
    this.session.traffic = observeTraffic({
      log: this.log,
      patience: this.patience,
      onFirstRequest: (timeMs) => (this.timings.firstModelRequestMs = this.sinceCreated(timeMs)),
      onRefusedKey: () => this.stop('unauthorized'),
    })
  }

  private async writeAll(agent: LiveAgent, lines: string[]): Promise<void> {
    for (const line of lines) await agent.process.write(line)
  }

  private sinceCreated(timeMs = Date.now()): number {
    return Math.max(0, Math.round((timeMs - this.claimed.createdAtMs) * 10) / 10)
  }
}
