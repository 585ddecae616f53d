import type { EventWriter } from '@vm0/backends'
import {
  noTimings,
  toVm0Error,
  Vm0Error,
  type Answer,
  type ClaimedRun,
  type CreateRunParsed,
  type RunRef,
  type Timings,
} from '@vm0/contract'
import type { FrameworkDriver } from '@vm0/frameworks'
import type { AdoptedRun, EarlierLife, LostRun } from './adoption/adopted-run.js'
import { ToldEvents } from './adoption/told-events.js'
import { AgentTalk } from './agent-talk.js'
import { RunWatch } from './black-box/run-watch.js'
import type { LiveSession } from './live-session.js'
import { HeadStart } from './head-start.js'
import { ModelPatience } from './model-patience.js'
import { observeTraffic } from './model-traffic.js'
import { noteOf, resumptionOf, type LossReason } from './resumption.js'
import type { RunnerOptions } from './options.js'
import type { WarmPool } from './pool/pool.js'
import type { ReadySandbox } from './ready-sandbox.js'
import { OutputSchema } from './output-schema.js'
import { QuotaWatch } from './quota-watch.js'
import { RunCheckpoints } from './run-checkpoints.js'
import type { RunContext } from './run-context.js'
import { finishRun } from './run-finish.js'
import { RunProgress } from './run-progress.js'
import { endingOfError, takenOver, type Ending, type StopReason } from './run-endings.js'
import { sandboxFor } from './run-sandbox.js'
import { RunStop } from './run-stop.js'
import { RunTurns } from './run-turns.js'
import type { RunnerStore } from './store.js'
import { Waiting } from './waiting.js'

/** One run from its claim to its outcome. */
export class RunLife {
  private readonly timings: Timings
  private log!: EventWriter
  private turns!: RunTurns
  private driver: FrameworkDriver | undefined
  private attempts: number
  private readonly bornMs = Date.now()
  private readonly stopping = new RunStop()
  private readonly patience: ModelPatience
  private readonly progress = new RunProgress()
  private quota: QuotaWatch | undefined
  /** Its outcome is in the row: all that is left is to tell of it. */
  hasEnded = false
  private readonly talk = new AgentTalk()
  private checkpoints: RunCheckpoints | undefined
  private waiting!: Waiting
  watch: RunWatch | undefined
  /** Lets the pool refill: the agent is at work, or the run has ended before. */
  private resumeRefill: (() => void) | undefined
  private readonly headStart = new HeadStart()
  private isAtWork = false

  constructor(
    private readonly options: RunnerOptions,
    private readonly store: RunnerStore,
    private readonly session: LiveSession,
    readonly ref: RunRef,
    private readonly claimed: ClaimedRun,
    private readonly pool: WarmPool,
    /** What an earlier process had done of it. */
    private readonly before: EarlierLife = {},
  ) {
    this.attempts = claimed.attempts
    this.timings = { ...noTimings, ...claimed.timings }
    this.patience = new ModelPatience(options.modelPatienceMs, (modelFailure) => {
      this.stopping.modelFailure = modelFailure
      this.stop('model')
    })
  }

  async run(): Promise<void> {
    this.timings.queuedMs = this.sinceCreated()
    this.resumeRefill = this.pool.pause()
    const { eventLog } = this.options
    const { epoch } = this.claimed
    const isNew = !this.before.adopted && !this.before.lost
    this.log = isNew ? eventLog.begin(this.ref, epoch) : await eventLog.open(this.ref, epoch)
    this.waiting = new Waiting(this.context, (waits) => this.watch?.waits(waits))
    const quota = (this.quota = new QuotaWatch(this.context))
    try {
      await this.finish(await this.live().finally(() => quota.close()))
    } finally {
      // Not before the outcome is in the row: from then on readers take the end from there.
      await this.log.close().catch((error: unknown) => this.logFailed(error))
    }
  }

  private async live(): Promise<Ending> {
    try {
      const spec = JSON.parse(this.options.secrets.open(this.claimed.spec)) as CreateRunParsed
      const timeoutMs = (this.stopping.timeoutMs = spec.limits?.timeoutMs)
      const waitedMs = this.before.adopted?.waits.ms ?? 0
      if (timeoutMs) this.waiting.limitTo(timeoutMs - this.sinceCreated() + waitedMs, () => this.stop('timeout'))
      this.driver = this.options.findDriver(spec.framework)
      const { driver, context } = this
      const agentVersion = (): string | undefined => this.turns.agent?.version
      const watch = (this.watch = this.watchOf(spec))
      const onCommitted = (): void => watch.committed()
      this.checkpoints = new RunCheckpoints({ ...context, driver, agentVersion, policy: spec.checkpoints, onCommitted })
      this.turns = this.turnsOf(spec, this.driver, this.checkpoints, watch)
      this.stopping.check()
      const { adopted, lost } = this.before
      let ending = adopted
        ? await this.goOn(spec, adopted)
        : await (lost ? this.resume(spec, 'host_lost', lost) : this.attempt(spec))
      for (let loss = await this.loss(ending, spec); loss; loss = await this.loss(ending, spec))
        ending = await this.resume(spec, loss)
      return ending
    } catch (error) {
      if (!this.session.sandbox)
        this.options.logger.warn({ ...this.ref, error }, 'run ended before its sandbox was ready')
      return this.stopping.ending(false) ?? endingOfError(toVm0Error(error))
    } finally {
      this.talk.end()
      this.headStart.end()
      for (const each of [this.waiting, this.stopping, this.patience]) each.close()
      this.resumeRefill?.()
      this.session.traffic = undefined
      await this.watch?.close()
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
    this.headStart.end()
    const agent = this.turns?.agent
    if (!agent) return
    agent.journal?.add({ t: 'stop', why })
    // One that waits for a person may be frozen.
    void this.waiting.wake()
    // One that is out of memory, or tells nothing, can't be asked.
    if (why === 'memory' || why === 'silence') return void agent.process.kill('SIGKILL')
    this.talk.tell(agent, agent.protocol.interrupt())
    this.stopping.killAfterGrace(agent)
  }

  private watchOf(spec: CreateRunParsed): RunWatch {
    const parts = {
      ...this.context,
      agent: () => this.session.agent,
      stop: (why: 'memory' | 'silence', message: string) => {
        this.stopping.message ??= message
        this.stop(why)
      },
      tell: (text: string) => {
        if (!this.stopping.why && this.talk.mention(text)) this.log.append({ type: 'input.sent', text, by: 'platform' })
      },
    }
    return new RunWatch(parts, spec)
  }

  /** Hands the agent a text; once accepted, the run doesn't end before the agent has answered it or tells that it won't. */
  async input(text: string): Promise<void> {
    if (this.stopping.why)
      throw new Vm0Error('RUN_ENDED', `run ${this.ref.runId} is being ended and takes no more input`)
    const sent = this.talk.input(text)
    this.log.append({ type: 'input.sent', text })
    await sent
  }

  /** A person's decision on what the agent asks. */
  async answer(answer: Answer): Promise<void> {
    const agent = this.turns?.agent
    if (!agent || this.stopping.why || this.ending)
      throw new Vm0Error('RUN_ENDED', `run ${this.ref.runId} takes no answers: it has no agent that waits`)
    this.talk.tell(agent, await this.waiting.answer(agent, answer))
  }

  private get context(): RunContext {
    const { options: runner, store, session, ref, log } = this
    return { runner, store, session, ref, epoch: this.claimed.epoch, log }
  }

  private turnsOf(
    spec: CreateRunParsed,
    driver: FrameworkDriver,
    checkpoints: RunCheckpoints,
    watch: RunWatch,
  ): RunTurns {
    const { context, talk, stopping, timings, progress, waiting } = this
    const parts = { ...context, talk, stopping, timings, progress, waiting, driver, checkpoints, watch }
    return new RunTurns({
      ...parts,
      told: this.before.adopted?.events ?? new ToldEvents(),
      outputSchema: spec.output && OutputSchema.of(spec.output),
      prompt: spec.prompt,
      sinceCreated: (timeMs) => this.sinceCreated(timeMs),
    })
  }

  private async attempt(spec: CreateRunParsed): Promise<Ending> {
    await this.prepare(spec)
    const ending = await this.turns.listen(spec)
    if (ending.error?.code !== 'AGENT_START_FAILED' || this.turns.how !== 'session' || this.stopping.why) return ending
    // What was left running in the session's sandbox may leave no room for an agent.
    await this.renew(spec)
    await this.prepare(spec)
    return this.turns.listen(spec)
  }

  private async renew({ resources }: CreateRunParsed): Promise<ReadySandbox> {
    await this.checkpoints?.saveRest()
    return this.session.renew({ resources })
  }

  private async loss(ending: Ending, { onLoss }: CreateRunParsed): Promise<LossReason | undefined> {
    if (this.stopping.why) return undefined
    const sandboxAlive = (await this.session.sandbox?.alive()) ?? false
    const { agentFinishedMs } = this.timings
    const endedAlone = agentFinishedMs !== null && agentFinishedMs < this.sinceCreated(this.bornMs)
    return resumptionOf(ending, { attempt: this.attempts, onLoss, sandboxAlive, endedAlone })
  }

  /** Takes the run up again: from what its sandbox still holds, or from what was saved last where that is `lost` too. */
  private async resume(spec: CreateRunParsed, loss: LossReason, lost?: LostRun): Promise<Ending> {
    this.stopping.check()
    this.attempts += 1
    if (!(await this.store.countAttempt(this.ref, this.claimed.epoch, this.attempts))) throw takenOver()
    const hasPrompt = lost?.hasPrompt ?? (loss === 'platform_away' || this.progress.firstTokenAtMs !== undefined)
    const { prompt, workspaceUpload } = spec
    const note = noteOf({ loss, hasPrompt, prompt, said: lost?.said ?? this.talk.takeSaid() })
    this.log.append({ type: 'run.resumed', attempt: this.attempts, reason: loss, note })
    this.progress.resumed()
    this.waiting.resumed()
    this.turns.forgetTurn()
    if (loss === 'sandbox_lost') await this.checkpoints?.saveRest()
    // What runs beside the agent may be what ends it.
    else if (loss === 'agent_crashed' || (loss === 'agent_killed' && this.attempts > 2)) await this.renew(spec)
    return this.attempt({ ...spec, prompt: note, workspaceUpload: hasPrompt ? undefined : workspaceUpload })
  }

  /** The agent was given its prompt by an earlier process: it is listened to from there. */
  private async goOn(spec: CreateRunParsed, run: AdoptedRun): Promise<Ending> {
    const { agent } = run
    this.turns.take(agent, run.how)
    Object.assign(this.timings, run.timings)
    this.begun()
    this.observeTraffic()
    this.patience.prompted()
    for (const { path, timeMs } of run.cutOff)
      this.log.append({ type: 'model.response', path, httpStatus: 502, durationMs: Date.now() - timeMs })
    for (const text of run.untold) this.log.append({ type: 'input.sent', text })
    if (run.stopping) {
      this.stopping.begin(run.stopping)
      this.stopping.killAfterGrace(agent)
    }
    this.waiting.goOn(run.waits)
    if (this.session.sandbox) this.watch?.begin(this.session.sandbox, run.oomKills)
    void run.caughtUp.then(() => this.talk.goOn(agent, run.said))
    return this.turns.listen(spec, run.oomKills)
  }

  private async prepare(spec: CreateRunParsed): Promise<void> {
    const driver = this.driver as FrameworkDriver
    this.observeTraffic()
    const request = { driver, spec, ref: this.ref, pool: this.pool, timings: this.timings, known: this.claimed.session }
    const renew = (): Promise<ReadySandbox> => this.renew(spec)
    const { sandbox, how } = await sandboxFor(this.session, { ...request, signal: this.stopping.signal, renew })
    if (spec.workspaceUpload) await this.session.unpack(sandbox, spec.workspaceUpload, this.stopping.signal)
    this.timings.boundMs ??= this.sinceCreated()
    this.stopping.check()
    const agent = await this.turns.takeAgent(spec, how)
    this.stopping.check() // one that came while the agent was started had nobody to tell
    const durationMs = this.sinceCreated()
    this.timings.sandboxReadyMs ??= durationMs
    const isFirst = this.timings.promptSentMs === null && !this.before.lost
    // It is written when this returns: all that follows is done while the agent begins.
    const begun = this.turns.begin(agent, spec).then(() => (this.timings.promptSentMs ??= this.sinceCreated()))
    this.options.gateway.expectRequest()
    const { template } = this.session
    const ready = { sandboxId: sandbox.id, how, durationMs, template, agentVersion: agent.version }
    this.log.append({ type: 'sandbox.ready', ...ready })
    const lost = this.session.lost.take()
    if (lost) this.log.append({ type: 'processes.lost', ...lost })
    this.session.dirty = true
    this.patience.prompted()
    this.headStart.begin()
    // Both under the claim: neither the prompt nor the agent's way to its first request waits for the row to say so.
    await Promise.all([begun, this.turns.shown, this.headStart.over])
    this.watch?.begin(sandbox, this.turns.killsBefore)
    if (isFirst && !(await this.store.markRunning(this.ref, this.claimed.epoch, agent.version))) throw takenOver()
  }

  /** Its agent is at work. */
  private begun(): void {
    this.headStart.end()
    if (this.isAtWork) return
    this.isAtWork = true
    this.resumeRefill?.()
    void this.quota?.look()
  }

  private async finish(unsaved: Ending): Promise<void> {
    const { checkpoints, progress, timings } = this
    checkpoints?.end()
    await this.waiting.settled()
    await finishRun(unsaved, {
      ...this.context,
      checkpoints,
      turn: this.turns?.turn,
      progress,
      timings,
      prompted: timings.promptSentMs !== null,
      since: (timeMs) => this.sinceCreated(timeMs),
      onEnded: () => (this.hasEnded = true),
    })
  }

  private logFailed(error: unknown): void {
    this.options.logger.error({ ...this.ref, error }, 'events of a run could not be written')
  }

  private observeTraffic(): void {
    this.session.traffic = observeTraffic({
      log: this.log,
      patience: this.patience,
      requested: this.timings.firstModelRequestMs !== null,
      onFirstRequest: (timeMs) => (this.timings.firstModelRequestMs = this.sinceCreated(timeMs)),
      onRefusedKey: () => this.stop('unauthorized'),
      onBody: async (body) => {
        // Not before the request is on its way: they would take the CPU that passes it on.
        this.begun()
        await this.turns.shown.catch(() => undefined)
        await this.checkpoints?.barrier(body)
      },
    })
  }

  private sinceCreated(timeMs = Date.now()): number {
    return Math.max(0, Math.round((timeMs - this.claimed.createdAtMs) * 10) / 10)
  }
}
