import type { EventWriter } from '@vm0/backends'
import type { SavedCheckpoint } from '@vm0/checkpoints'
import {
  addUsage,
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
import { AgentTalk } from './agent-talk.js'
import { causeOfDeath } from './cause-of-death.js'
import { launchSpecOf, type LiveAgent } from './live-agent.js'
import type { LiveSession, ReadySandbox } from './live-session.js'
import { ModelPatience, type ModelFailure } from './model-patience.js'
import { observeTraffic } from './model-traffic.js'
import type { RunnerOptions } from './options.js'
import type { WarmPool } from './pool/pool.js'
import { committedEvent, RunCheckpoints } from './run-checkpoints.js'
import { endingOfError, endingOfStop, endingOfTurn, failure, type Ending, type StopReason } from './run-endings.js'
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
  private readonly patience: ModelPatience
  private modelFailure: ModelFailure | undefined
  private readonly stopped = new AbortController()
  private how: ReadySandbox['how'] = 'cold'
  private started = false
  private lastStderr = ''
  /** Its outcome is in the row: all that is left is to tell of it. */
  hasEnded = false
  private turn: TurnEnd | undefined
  /** What the requests so far have used: the account of a run whose agent doesn't come to tell its own. */
  private spent = { usage: noUsage, costUsd: 0 }
  private readonly talk = new AgentTalk()
  private checkpoints: RunCheckpoints | undefined
  private begunAnew = false
  /** The agent comes from the pool and hasn't said anything yet. */
  private unproven = false
  /** Lets the pool refill: the agent is at work, or the run has ended before. */
  private resumeRefill: (() => void) | undefined

  constructor(
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
    private readonly session: LiveSession,
    readonly ref: RunRef,
    private readonly claimed: ClaimedRun,
    private readonly pool: WarmPool | undefined,
  ) {
    this.patience = new ModelPatience(options.modelPatienceMs, (modelFailure) => {
      this.modelFailure = modelFailure
      this.stop('model')
    })
  }

  async run(): Promise<void> {
    this.timings.queuedMs = this.sinceCreated()
    this.resumeRefill = this.pool?.pause()
    this.log = await this.options.eventLog.open(this.ref, this.claimed.epoch)
    try {
      await this.finish(await this.live())
    } finally {
      // Not before the outcome is in the row: from then on readers take the end from there.
      await this.log.close().catch((error: unknown) => this.logFailed(error))
    }
  }

  private async live(): Promise<Ending> {
    let timer: NodeJS.Timeout | undefined
    try {
      const spec = JSON.parse(this.options.secrets.open(this.claimed.spec)) as CreateRunParsed
      this.timeoutMs = spec.limits?.timeoutMs
      if (this.timeoutMs)
        timer = setTimeout(() => this.stop('timeout'), Math.max(1, this.timeoutMs - this.sinceCreated()))
      this.driver = this.options.findDriver(spec.framework)
      this.checkpoints = this.checkpointsOf(spec, this.driver)
      this.checkStopped()
      const ending = await this.attempt(spec, this.driver)
      if (ending.error?.code !== 'AGENT_START_FAILED' || this.how !== 'session' || this.stopping) return ending
      // What was left running in the session's sandbox may leave no room for an agent.
      await this.session.renew({ resources: spec.resources })
      return await this.attempt(spec, this.driver)
    } catch (error) {
      if (!this.session.sandbox)
        this.options.logger.warn({ runId: this.ref.runId, error }, 'run ended before its sandbox was ready')
      return this.endingOfStop(false) ?? endingOfError(toVm0Error(error))
    } finally {
      this.talk.end()
      clearTimeout(timer)
      clearTimeout(this.killTimer)
      this.resumeRefill?.()
      this.patience.close()
      this.session.traffic = undefined
    }
  }

  /** Its agent has ended its turns: what is left is to save and to tell. */
  get ending(): boolean {
    return this.talk.isOver
  }

  /** Asks the agent to end its turn; kills it when it doesn't within the grace time. */
  stop(why: StopReason): void {
    if (this.stopping || this.ending) return
    this.stopping = why
    this.stopped.abort()
    const { agent } = this
    if (!agent) return
    this.talk.tell(agent, agent.protocol.interrupt())
    this.killTimer = setTimeout(() => void agent.process.kill('SIGKILL'), interruptGraceMs)
  }

  /** Hands the agent a text; once accepted, the run doesn't end before the agent has answered it or tells that it won't. */
  async input(text: string): Promise<void> {
    if (this.stopping) throw new Vm0Error('RUN_ENDED', `run ${this.ref.runId} is being ended and takes no more input`)
    const sent = this.talk.input(text)
    this.log.append({ type: 'input.sent', text })
    await sent
  }

  private checkpointsOf(spec: CreateRunParsed, driver: FrameworkDriver): RunCheckpoints {
    const { options: runner, store, session, ref, log } = this
    const { epoch } = this.claimed
    const agentVersion = (): string | undefined => this.agent?.version
    const policy = spec.checkpoints
    return new RunCheckpoints({ runner, store, session, ref, epoch, log, driver, agentVersion, policy })
  }

  private endingOfStop(completed: boolean): Ending | undefined {
    return endingOfStop(this.stopping, this.timeoutMs, completed, this.modelFailure)
  }

  private async attempt(spec: CreateRunParsed, driver: FrameworkDriver): Promise<Ending> {
    this.lastStderr = ''
    await this.prepare(spec, driver)
    return this.turns(spec)
  }

  private async prepare(spec: CreateRunParsed, driver: FrameworkDriver): Promise<void> {
    this.observeTraffic()
    const { sandbox, how } = await this.session.ready({
      resources: spec.resources,
      known: this.claimed.session,
      takeWarm: (template, resources) => this.pool?.take({ driver, template, resources }),
      signal: this.stopped.signal,
    })
    this.how = how
    if (spec.workspaceUpload) await this.session.unpack(sandbox, spec.workspaceUpload, this.stopped.signal)
    this.checkStopped()
    const agent = await this.takeAgent(driver, spec)
    this.unproven = how === 'warm'
    this.timings.sandboxReadyMs = this.sinceCreated()
    this.log.append({
      type: 'sandbox.ready',
      sandboxId: sandbox.id,
      how,
      durationMs: this.timings.sandboxReadyMs,
      template: this.session.template,
      agentVersion: agent.version,
    })
    this.session.dirty = true
    this.patience.prompted()
    const isFirst = this.timings.promptSentMs === null
    // Both under the claim: the prompt doesn't wait for the row to say so.
    const [running] = await Promise.all([
      isFirst ? this.store.markRunning(this.ref, this.claimed.epoch, agent.version) : true,
      this.talk.begin(agent, spec.prompt).then(() => (this.timings.promptSentMs = this.sinceCreated())),
    ])
    if (!running) throw new Vm0Error('HOST_LOST', 'another runner has taken the session over')
  }

  private async takeAgent(driver: FrameworkDriver, spec: CreateRunParsed): Promise<LiveAgent> {
    this.agent = await this.session.agentFor(driver, launchSpecOf(spec))
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
        this.options.logger.warn({ runId: this.ref.runId }, 'a warm agent died before it began: another is started')
        this.session.agent = undefined
        agent = await this.beginAgain(spec)
        continue
      }
      if (done) return this.agentGone(agent, killsBefore)
      if (line.stream === 'stderr') {
        this.lastStderr = `${this.lastStderr}${line.text}\n`.slice(-4000)
        this.log.append({ type: 'stderr', text: line.text.slice(0, 16_384) }, line.timeMs)
        continue
      }
      const { events, replies, agentSessionId, turnEnd, recorded } = agent.protocol.translate(line.text, line.timeMs)
      for (const event of events) this.record(event, line.timeMs)
      if (agentSessionId) this.session.agentSessionId = agentSessionId
      if (recorded) this.checkpoints?.recorded(recorded)
      this.talk.tell(agent, replies)
      if (!turnEnd) continue
      if (turnEnd.conversationLost && !this.begunAnew && !this.stopping) {
        agent = await this.beginAnew(spec)
        continue
      }
      // Before anything is awaited: an input must not slip in between the last turn and the run's end.
      this.talk.end()
      this.turn = turnEnd
      if (turnEnd.unanswered > 0) await this.session.stopAgent()
      this.timings.agentFinishedMs = this.sinceCreated(line.timeMs)
      return this.endingOfStop(turnEnd.reason === 'completed') ?? endingOfTurn(turnEnd)
    }
  }

  private async beginAnew(spec: CreateRunParsed): Promise<LiveAgent> {
    this.begunAnew = true
    const text = 'the earlier conversation is not there; a new one begins'
    this.log.append({ type: 'notice', level: 'warning', text })
    await this.session.forgetConversation()
    return this.beginAgain(spec)
  }

  /** Another process, for the same prompt and what was said since. */
  private async beginAgain(spec: CreateRunParsed): Promise<LiveAgent> {
    this.unproven = false
    const agent = await this.takeAgent(this.driver as FrameworkDriver, spec)
    this.checkStopped()
    await this.talk.begin(agent, spec.prompt)
    return agent
  }

  private record(event: EventBody, timeMs: number): void {
    if (event.type === 'run.started') this.started = true
    this.checkpoints?.observe(event)
    if (event.type === 'usage' && event.scope === 'step') {
      this.spent.usage = addUsage(this.spent.usage, event.usage)
      this.spent.costUsd += event.costUsd ?? 0
    }
    if (
      (event.type === 'message.delta' || event.type === 'message' || event.type === 'tool.started') &&
      this.timings.firstTokenMs === null
    )
      this.timings.firstTokenMs = this.sinceCreated(timeMs)
    this.log.append(event, timeMs)
  }

  private async agentGone(agent: LiveAgent, killsBefore: number): Promise<Ending> {
    this.talk.end()
    this.session.agent = undefined
    for (const event of agent.protocol.gone()) this.record(event, Date.now())
    const { exitCode, reason } = await agent.process.exited
    const stopped = this.endingOfStop(false)
    if (stopped) return stopped
    const lost = this.session.sandbox?.failure
    if (lost) return endingOfError(lost)
    const stderr = this.lastStderr.trim()
    const stats = await this.session.sandbox?.stats().catch(() => undefined)
    const memoryPeakBytes = stats && stats.oomKills > killsBefore ? stats.memoryPeakBytes : undefined
    const cause = causeOfDeath({ exitCode, exitReason: reason, started: this.started, stderr, memoryPeakBytes })
    return failure('died', cause.reason, cause.code, cause.message, { exitCode, stderr })
  }

  /** Saves what there is, then writes outcome and head in one transaction, then tells. */
  private async finish(unsaved: Ending): Promise<void> {
    const { session, checkpoints } = this
    checkpoints?.end()
    const { ending, saved, committed } = await session.inTurn(async () => {
      const prompted = session.sandbox && this.timings.promptSentMs !== null
      const end = (prompted && (await checkpoints?.atEnd(unsaved))) || { ending: unsaved, saved: null }
      const isCommitted = await this.commit(end.ending, end.saved)
      if (isCommitted && end.saved) session.committed(end.saved)
      return { ...end, committed: isCommitted }
    })
    this.hasEnded = true
    if (!committed)
      this.options.logger.warn(
        { runId: this.ref.runId },
        'the run ended elsewhere: another runner owns the session now',
      )
    if (!committed || ending.reason === 'host_disk_full') await session.discard()
    if (!committed) return
    if (saved) this.log.append(committedEvent(saved))
    const { state: outcome, reason, error } = ending
    this.log.append({ type: 'run.finished', outcome, reason, timings: this.timings, error })
  }

  private commit(ending: Ending, saved: SavedCheckpoint | null): Promise<boolean> {
    this.timings.totalMs = this.sinceCreated()
    const text = this.turn ? this.options.secrets.seal(this.turn.text) : null
    const { usage, costUsd } = this.turn ?? this.spent
    const end = { ...ending, text, usage, costUsd, timings: this.timings }
    return this.store.endRun(this.ref, this.claimed.epoch, end, saved)
  }

  private logFailed(error: unknown): void {
    this.options.logger.error({ runId: this.ref.runId, error }, 'events of a run could not be written')
  }

  private observeTraffic(): void {
    this.session.traffic = observeTraffic({
      log: this.log,
      patience: this.patience,
      onFirstRequest: (timeMs) => {
        this.timings.firstModelRequestMs = this.sinceCreated(timeMs)
        this.resumeRefill?.()
      },
      onRefusedKey: () => this.stop('unauthorized'),
      onBody: (body) => this.checkpoints?.barrier(body),
    })
  }

  private sinceCreated(timeMs = Date.now()): number {
    return Math.max(0, Math.round((timeMs - this.claimed.createdAtMs) * 10) / 10)
  }
}
