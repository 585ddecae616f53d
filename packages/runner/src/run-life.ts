import type { EventWriter } from '@vm0/backends'
import type { SavedCheckpoint } from '@vm0/checkpoints'
import {
  noTimings,
  toVm0Error,
  Vm0Error,
  type CreateRunParsed,
  type EventBody,
  type RunRef,
  type Timings,
} from '@vm0/contract'
import type { FrameworkDriver, TurnEnd } from '@vm0/frameworks'
import type { AdoptedRun } from './adoption/adopted-run.js'
import { ToldEvents } from './adoption/told-events.js'
import { endingOfDeath } from './agent-death.js'
import { AgentTalk } from './agent-talk.js'
import { launchSpecOf, type LiveAgent } from './live-agent.js'
import type { LiveSession, ReadySandbox } from './live-session.js'
import { ModelPatience } from './model-patience.js'
import { observeTraffic } from './model-traffic.js'
import type { RunnerOptions } from './options.js'
import type { WarmPool } from './pool/pool.js'
import { committedEvent, RunCheckpoints } from './run-checkpoints.js'
import { RunProgress } from './run-progress.js'
import { endingOfError, endingOfTurn, type Ending, type StopReason } from './run-endings.js'
import { RunStop } from './run-stop.js'
import type { ClaimedRun, RunnerStore } from './store.js'

/** One run from its claim to its outcome. */
export class RunLife {
  private readonly timings: Timings = { ...noTimings }
  private log!: EventWriter
  private agent: LiveAgent | undefined
  private driver: FrameworkDriver | undefined
  private readonly stopping = new RunStop()
  private readonly patience: ModelPatience
  private how: ReadySandbox['how'] = 'cold'
  private readonly progress = new RunProgress()
  private readonly told: ToldEvents
  private lastStderr = ''
  /** Its outcome is in the row: all that is left is to tell of it. */
  hasEnded = false
  private turn: TurnEnd | undefined
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
    /** What an earlier process had done of it. */
    private readonly adopted?: AdoptedRun,
  ) {
    this.told = adopted?.events ?? new ToldEvents()
    this.patience = new ModelPatience(options.modelPatienceMs, (modelFailure) => {
      this.stopping.modelFailure = modelFailure
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
      const timeoutMs = (this.stopping.timeoutMs = spec.limits?.timeoutMs)
      if (timeoutMs) timer = setTimeout(() => this.stop('timeout'), Math.max(1, timeoutMs - this.sinceCreated()))
      this.driver = this.options.findDriver(spec.framework)
      this.checkpoints = this.checkpointsOf(spec, this.driver)
      this.stopping.check()
      const ending = await (this.adopted ? this.goOn(spec, this.adopted) : this.attempt(spec, this.driver))
      if (ending.error?.code !== 'AGENT_START_FAILED' || this.how !== 'session' || this.stopping.why) return ending
      // What was left running in the session's sandbox may leave no room for an agent.
      await this.session.renew({ resources: spec.resources })
      return await this.attempt(spec, this.driver)
    } catch (error) {
      if (!this.session.sandbox)
        this.options.logger.warn({ runId: this.ref.runId, error }, 'run ended before its sandbox was ready')
      return this.stopping.ending(false) ?? endingOfError(toVm0Error(error))
    } finally {
      this.talk.end()
      clearTimeout(timer)
      this.stopping.close()
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
    if (this.stopping.why || this.ending) return
    this.stopping.begin(why)
    const { agent } = this
    if (!agent) return
    agent.journal?.add({ t: 'stop', why })
    this.talk.tell(agent, agent.protocol.interrupt())
    this.stopping.killAfterGrace(agent)
  }

  /** Hands the agent a text; once accepted, the run doesn't end before the agent has answered it or tells that it won't. */
  async input(text: string): Promise<void> {
    if (this.stopping.why)
      throw new Vm0Error('RUN_ENDED', `run ${this.ref.runId} is being ended and takes no more input`)
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

  private async attempt(spec: CreateRunParsed, driver: FrameworkDriver): Promise<Ending> {
    this.lastStderr = ''
    await this.prepare(spec, driver)
    return this.turns(spec)
  }

  /** The agent was given its prompt by an earlier process: it is listened to from there. */
  private async goOn(spec: CreateRunParsed, run: AdoptedRun): Promise<Ending> {
    const { agent } = run
    this.agent = agent
    this.how = run.how
    this.unproven = run.how === 'warm'
    Object.assign(this.timings, run.timings)
    this.resumeRefill?.()
    this.observeTraffic()
    this.patience.prompted()
    for (const { path, timeMs } of run.cutOff)
      this.log.append({ type: 'model.response', path, httpStatus: 502, durationMs: Date.now() - timeMs })
    for (const text of run.untold) this.log.append({ type: 'input.sent', text })
    if (run.stopping) {
      this.stopping.begin(run.stopping)
      this.stopping.killAfterGrace(agent)
    }
    void run.caughtUp.then(() => this.talk.goOn(agent, run.said))
    return this.turns(spec)
  }

  private async prepare(spec: CreateRunParsed, driver: FrameworkDriver): Promise<void> {
    this.observeTraffic()
    const { sandbox, how } = await this.session.ready({
      resources: spec.resources,
      known: this.claimed.session,
      takeWarm: (template, resources) => this.pool?.take({ driver, template, resources }),
      signal: this.stopping.signal,
    })
    this.how = how
    if (spec.workspaceUpload) await this.session.unpack(sandbox, spec.workspaceUpload, this.stopping.signal)
    this.stopping.check()
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
      this.begin(agent, spec).then(() => (this.timings.promptSentMs = this.sinceCreated())),
    ])
    if (!running) throw new Vm0Error('HOST_LOST', 'another runner has taken the session over')
  }

  private begin(agent: LiveAgent, { prompt }: CreateRunParsed): Promise<void> {
    const { queuedMs, sandboxReadyMs } = this.timings
    const read = { out: agent.lines.out, err: agent.lines.err }
    agent.journal?.add({ t: 'run', runId: this.ref.runId, how: this.how, read, queuedMs, sandboxReadyMs })
    return this.talk.begin(agent, prompt)
  }

  private async takeAgent(driver: FrameworkDriver, spec: CreateRunParsed): Promise<LiveAgent> {
    this.agent = await this.session.agentFor(driver, launchSpecOf(spec))
    return this.agent
  }

  private async turns(spec: CreateRunParsed): Promise<Ending> {
    let agent = this.agent as LiveAgent
    const killsBefore = this.adopted?.oomKills ?? (await this.session.sandbox?.stats())?.oomKills ?? 0
    agent.journal?.add({ t: 'kills', oomKills: killsBefore })
    for (;;) {
      const { value: line, done } = await agent.lines.next()
      if (done && this.unproven && !this.progress.started && !this.stopping.why) {
        this.options.logger.warn({ runId: this.ref.runId }, 'a warm agent died before it began: another is started')
        this.session.agent = undefined
        agent = await this.beginAgain(spec)
        continue
      }
      if (done) return this.agentGone(agent, killsBefore)
      if (line.stream === 'stderr') {
        this.lastStderr = `${this.lastStderr}${line.text}\n`.slice(-4000)
        this.tell({ type: 'stderr', text: line.text.slice(0, 16_384) }, line.timeMs, 'stderr')
        continue
      }
      const { events, replies, agentSessionId, turnEnd, recorded } = agent.protocol.translate(line.text, line.timeMs)
      for (const event of events) this.record(event, line.timeMs, 'stdout')
      if (agentSessionId) this.session.agentSessionId = agentSessionId
      if (recorded) this.checkpoints?.recorded(recorded)
      this.talk.tell(agent, replies)
      if (!turnEnd) continue
      if (turnEnd.conversationLost && !this.begunAnew && !this.stopping.why) {
        agent = await this.beginAnew(spec)
        continue
      }
      // Before anything is awaited: an input must not slip in between the last turn and the run's end.
      this.talk.end()
      this.turn = turnEnd
      if (turnEnd.unanswered > 0) await this.session.stopAgent()
      this.timings.agentFinishedMs = this.sinceCreated(line.timeMs)
      return this.stopping.ending(turnEnd.reason === 'completed') ?? endingOfTurn(turnEnd)
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
    this.stopping.check()
    await this.begin(agent, spec)
    return agent
  }

  private record(event: EventBody, timeMs: number, from: 'stdout' | 'end'): void {
    this.progress.observe(event, timeMs)
    this.checkpoints?.observe(event)
    this.tell(event, timeMs, from)
  }

  /** Logs an event of the agent's output, unless an earlier process has. */
  private tell(event: EventBody, timeMs: number, from: 'stdout' | 'stderr' | 'end'): void {
    const origin = this.told.next(this.agent as LiveAgent, from)
    if (origin !== undefined) this.log.append(event, timeMs, origin)
  }

  private async agentGone(agent: LiveAgent, killsBefore: number): Promise<Ending> {
    this.talk.end()
    this.session.agent = undefined
    for (const event of agent.protocol.gone()) this.record(event, Date.now(), 'end')
    await agent.process.exited
    const { sandbox } = this.session
    const { started } = this.progress
    const death = { agent, sandbox, killsBefore, started, stderr: this.lastStderr.trim() }
    return this.stopping.ending(false) ?? endingOfDeath(death)
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
    const { usage, costUsd } = this.turn ?? this.progress
    const { firstTokenAtMs } = this.progress
    this.timings.firstTokenMs = firstTokenAtMs === undefined ? null : this.sinceCreated(firstTokenAtMs)
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
      requested: this.timings.firstModelRequestMs !== null,
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
