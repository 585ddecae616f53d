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
import { launchSpecOf, type LiveAgent } from './live-agent.js'
import type { LiveSession } from './live-session.js'
import type { WarmPool } from './pool/pool.js'
import type { RunnerOptions } from './options.js'
import {
  endingOfDeath,
  endingOfError,
  endingOfStop,
  endingOfTurn,
  failure,
  type Ending,
  type StopReason,
} from './run-endings.js'
import type { ClaimedRun, RunnerStore } from './store.js'

/** How long an agent may take to end its turn after an interrupt. */
const interruptGraceMs = 5_000

/** One run from its claim to its outcome. */
export class RunLife {
  private readonly timings: Timings = { ...noTimings }
  private log!: EventWriter
  private agent: LiveAgent | undefined
  private driver: FrameworkDriver | undefined
  private stopping: StopReason | undefined
  private timeoutMs: number | undefined
  private killTimer: NodeJS.Timeout | undefined
  private started = false
  /** The agent comes from the pool and hasn't said anything yet. */
  private unproven = false
  private lastStderr = ''
  private turn: TurnEnd | undefined
  /** Lets the pool refill: the agent is at work, or the run has ended before. */
  private resumeRefill: (() => void) | undefined

  constructor(
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
    private readonly session: LiveSession,
    readonly ref: RunRef,
    private readonly claimed: ClaimedRun,
    private readonly pool: WarmPool | undefined,
  ) {}

  async run(): Promise<void> {
    this.timings.queuedMs = this.sinceCreated()
    this.resumeRefill = this.pool?.pause()
    this.log = await this.options.eventLog.open(this.ref, this.claimed.epoch)
    let timer: NodeJS.Timeout | undefined
    let ending: Ending
    try {
      const spec = JSON.parse(this.options.secrets.open(this.claimed.spec)) as CreateRunParsed
      this.timeoutMs = spec.limits?.timeoutMs
      if (this.timeoutMs)
        timer = setTimeout(() => this.stop('timeout'), Math.max(1, this.timeoutMs - this.sinceCreated()))
      this.driver = this.options.findDriver(spec.framework)
      await this.prepare(spec, this.driver)
      ending = await this.turns(spec)
    } catch (error) {
      ending = endingOfError(toVm0Error(error))
      if (!this.session.sandbox)
        this.options.logger.warn({ runId: this.ref.runId, error }, 'run ended before its sandbox was ready')
    } finally {
      clearTimeout(timer)
      clearTimeout(this.killTimer)
      this.resumeRefill?.()
      this.session.traffic = undefined
    }
    await this.finish(ending)
  }

  /** Asks the agent to end its turn; kills it when it doesn't within the grace time. */
  stop(why: StopReason): void {
    if (this.stopping) return
    this.stopping = why
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

  private async prepare(spec: CreateRunParsed, driver: FrameworkDriver): Promise<void> {
    this.observeTraffic()
    const { sandbox, how, durationMs } = await this.session.ready(spec.resources, (template, resources) =>
      this.pool?.take({ driver, template, resources }),
    )
    if (spec.workspaceUpload) await this.session.unpack(sandbox, spec.workspaceUpload)
    this.checkStopped()
    const agent = await this.takeAgent(driver, spec)
    this.unproven = how === 'warm'
    this.timings.sandboxReadyMs = this.sinceCreated()
    this.log.append({
      type: 'sandbox.ready',
      sandboxId: sandbox.id,
      how,
      durationMs,
      template: this.session.template,
      agentVersion: agent.version,
    })
    if (!(await this.store.markRunning(this.ref, this.claimed.epoch, agent.version)))
      throw new Vm0Error('HOST_LOST', 'another runner has taken the session over')
    this.checkStopped()
    this.session.dirty = true
    await this.writeAll(agent, agent.protocol.prompt(spec.prompt))
    this.timings.promptSentMs = this.sinceCreated()
  }

  private async takeAgent(driver: FrameworkDriver, spec: CreateRunParsed): Promise<LiveAgent> {
    this.agent = await this.session.agentFor(driver, launchSpecOf(spec), () => this.store.costOf(this.ref))
    return this.agent
  }

  private checkStopped(): void {
    if (this.stopping)
      throw new Vm0Error(
        this.stopping === 'cancel' ? 'CANCELLED' : 'TIMED_OUT',
        'the run was stopped before its prompt was sent',
      )
  }

  private async turns(spec: CreateRunParsed): Promise<Ending> {
    let agent = this.agent as LiveAgent
    const killsBefore = (await this.session.sandbox?.stats())?.oomKills ?? 0
    for (;;) {
      const { value: line, done } = await agent.lines.next()
      if (done && this.unproven && !this.started && !this.stopping) {
        agent = await this.replaceAgent(spec)
        continue
      }
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
      return endingOfStop(this.stopping, this.timeoutMs) ?? endingOfTurn(turnEnd)
    }
  }

  /** One that died between the pool and its first word has done nothing yet: another gets the prompt. */
  private async replaceAgent(spec: CreateRunParsed): Promise<LiveAgent> {
    this.unproven = false
    this.options.logger.warn({ runId: this.ref.runId }, 'a warm agent died before it began: another is started')
    this.session.agent = undefined
    const agent = await this.takeAgent(this.driver as FrameworkDriver, spec)
    await this.writeAll(agent, agent.protocol.prompt(spec.prompt))
    return agent
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

  private async agentGone(agent: LiveAgent, killsBefore: number): Promise<Ending> {
    this.session.agent = undefined
    const { exitCode, reason } = await agent.process.exited
    // A sandbox that is gone can't be asked; its conversation is then the last checkpoint's anyway.
    if (this.driver) await this.session.checkConversation(this.driver).catch(() => undefined)
    const stopped = endingOfStop(this.stopping, this.timeoutMs)
    if (stopped) return stopped
    const stats = await this.session.sandbox?.stats().catch(() => undefined)
    return endingOfDeath({
      exitCode,
      overOutputLimit: reason === 'output_limit',
      stderr: this.lastStderr.trim(),
      started: this.started,
      outOfMemory: stats !== undefined && stats.oomKills > killsBefore,
      peakMemoryBytes: stats?.memoryPeakBytes ?? 0,
    })
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
        const { message } = toVm0Error(error, 'CHECKPOINT_FAILED')
        this.options.logger.error({ runId: this.ref.runId, error }, 'checkpoint failed')
        if (ending.state === 'succeeded') ending = failure('failed', 'checkpoint_failed', 'CHECKPOINT_FAILED', message)
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
    this.session.traffic = {
      onRequest: ({ method, path, timeMs }) => {
        const first = this.timings.firstModelRequestMs === null && /^\/v1\/messages(\?|$)/.test(path)
        if (first) {
          this.timings.firstModelRequestMs = this.sinceCreated(timeMs)
          this.resumeRefill?.()
        }
        this.log.append({ type: 'model.request', method, path, first }, timeMs)
      },
      onFirstByte: () => undefined,
      onEnd: ({ path, status, timeMs, durationMs }) => {
        this.log.append({ type: 'model.response', path, httpStatus: status, durationMs }, timeMs)
        // The key is the platform's: the agent can't mend it, but would try again for minutes.
        if (status === 401) this.stop('unauthorized')
      },
    }
  }

  private async writeAll(agent: LiveAgent, lines: string[]): Promise<void> {
    for (const line of lines) await agent.process.write(line)
  }

  private sinceCreated(timeMs = Date.now()): number {
    return Math.max(0, Math.round((timeMs - this.claimed.createdAtMs) * 10) / 10)
  }
}
