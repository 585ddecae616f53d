import type { CreateRunParsed, EventBody, Timings } from '@vm0/contract'
import type { FrameworkDriver, TurnEnd } from '@vm0/frameworks'
import type { ToldEvents } from './adoption/told-events.js'
import { endingOfDeath } from './agent-death.js'
import type { AgentTalk } from './agent-talk.js'
import type { RunWatch } from './black-box/run-watch.js'
import { launchSpecOf, type LiveAgent } from './live-agent.js'
import type { ReadySandbox } from './ready-sandbox.js'
import type { RunCheckpoints } from './run-checkpoints.js'
import type { RunContext } from './run-context.js'
import type { OutputSchema } from './output-schema.js'
import { endingOfTurn, type Ending } from './run-endings.js'
import type { RunProgress } from './run-progress.js'
import type { RunStop } from './run-stop.js'
import { showToolEnvironment } from './tool-environment.js'
import type { Waiting } from './waiting.js'

export interface RunTurnsParts extends RunContext {
  driver: FrameworkDriver
  /** What the run was asked, whatever an agent was told later. */
  prompt: string
  talk: AgentTalk
  stopping: RunStop
  timings: Timings
  progress: RunProgress
  told: ToldEvents
  checkpoints: RunCheckpoints
  waiting: Waiting
  watch: RunWatch
  /** The form that the output must have. */
  outputSchema: OutputSchema | undefined
  /** Milliseconds since the run was created. */
  sinceCreated(timeMs?: number): number
}

/** A run's agent at work: what it says becomes the run's events, until it has ended its turns or is gone. */
export class RunTurns {
  agent: LiveAgent | undefined
  how: ReadySandbox['how'] = 'cold'
  /** How its turns ended, once they have. */
  turn: TurnEnd | undefined
  /** The agent's tools find what belongs to this run: before a model's first answer, not before the prompt. */
  shown: Promise<void> = Promise.resolve()
  /** How many tasks the kernel had killed when the agent got its prompt; undefined: an earlier process has sent it. */
  killsBefore: number | undefined
  private lastStderr = ''
  private begunAnew = false
  /** The agent comes from the pool and hasn't said anything yet. */
  private unproven = false

  constructor(private readonly parts: RunTurnsParts) {}

  take(agent: LiveAgent, how: ReadySandbox['how']): void {
    this.agent = agent
    this.how = how
    this.unproven = how === 'warm'
  }

  async takeAgent(spec: CreateRunParsed, how: ReadySandbox['how']): Promise<LiveAgent> {
    const { session, driver } = this.parts
    const agent = await session.agentFor(driver, launchSpecOf(spec))
    this.take(agent, how)
    return agent
  }

  begin(agent: LiveAgent, spec: CreateRunParsed): Promise<void> {
    const { runner, ref, session, talk, timings } = this.parts
    const { queuedMs, boundMs, sandboxReadyMs, pool } = timings
    const reached = { queuedMs, boundMs, sandboxReadyMs, pool }
    const read = { out: agent.lines.out, err: agent.lines.err }
    agent.journal?.add({ t: 'run', runId: ref.runId, how: this.how, read, ...reached })
    const begun = talk.begin(agent, spec.prompt)
    if (session.sandbox) this.shown = showToolEnvironment(session.sandbox, ref.runId, spec)
    this.shown.catch(() => undefined) // told to whoever waits for it
    this.killsBefore = session.sandbox?.counts().oomKills ?? 0
    agent.journal?.add({ t: 'kills', oomKills: this.killsBefore })
    runner.logger.info({ ...ref, agentVersion: agent.version, sandbox: this.how }, 'the prompt is handed to the agent')
    return begun
  }

  /** `oomKills`: of an agent that was listened to before, how many tasks the kernel had killed when it began. */
  async listen(spec: CreateRunParsed, oomKills?: number): Promise<Ending> {
    const { session, stopping, talk, checkpoints, progress, timings } = this.parts
    this.lastStderr = ''
    let agent = this.agent as LiveAgent
    const killsBefore = oomKills ?? this.killsBefore ?? session.sandbox?.counts().oomKills ?? 0
    if (this.killsBefore === undefined) agent.journal?.add({ t: 'kills', oomKills: killsBefore })
    for (;;) {
      const { value: line, done } = await agent.lines.next()
      if (done && this.unproven && !progress.started && !stopping.why) {
        const { runner, ref } = this.parts
        runner.logger.warn({ ...ref }, 'a warm agent died before it began: another is started')
        session.agent = undefined
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
      if (agentSessionId) session.agentSessionId = agentSessionId
      if (recorded) checkpoints.recorded(recorded)
      talk.tell(agent, replies)
      if (!turnEnd) continue
      if (turnEnd.conversationLost && !this.begunAnew && !stopping.why) {
        agent = await this.beginAnew(spec)
        continue
      }
      // Before anything is awaited: an input must not slip in between the last turn and the run's end.
      talk.end()
      this.turn = turnEnd
      if (turnEnd.unanswered > 0) await session.stopAgent()
      timings.agentFinishedMs = this.parts.sinceCreated(line.timeMs)
      return stopping.ending(turnEnd.reason === 'completed') ?? endingOfTurn(turnEnd, this.parts.outputSchema)
    }
  }

  /** The run goes on past it. */
  forgetTurn(): void {
    this.turn = undefined
    this.parts.timings.agentFinishedMs = null
  }

  private async beginAnew(spec: CreateRunParsed): Promise<LiveAgent> {
    this.begunAnew = true
    const text = 'the earlier conversation is not there; a new one begins'
    this.parts.log.append({ type: 'notice', level: 'warning', text })
    await this.parts.session.forgetConversation()
    return this.beginAgain({ ...spec, prompt: this.parts.prompt })
  }

  /** Another process, for the same prompt and what was said since. */
  private async beginAgain(spec: CreateRunParsed): Promise<LiveAgent> {
    const agent = await this.takeAgent(spec, this.how)
    this.unproven = false
    this.parts.stopping.check()
    await this.begin(agent, spec)
    return agent
  }

  private record(event: EventBody, timeMs: number, from: 'stdout' | 'end'): void {
    this.parts.progress.observe(event, timeMs)
    this.parts.checkpoints.observe(event)
    this.tell(event, timeMs, from)
  }

  /** Logs an event of the agent's output, unless an earlier process has. */
  private tell(event: EventBody, timeMs: number, from: 'stdout' | 'stderr' | 'end'): void {
    const origin = this.parts.told.next(this.agent as LiveAgent, from)
    if (origin !== undefined) this.parts.log.append(event, timeMs, origin)
    this.parts.waiting.observe(event)
    this.parts.watch.observe(event, timeMs, origin !== undefined)
  }

  private async agentGone(agent: LiveAgent, killsBefore: number): Promise<Ending> {
    const { session, talk, progress, stopping, watch } = this.parts
    talk.pause()
    session.agent = undefined
    for (const event of agent.protocol.gone()) this.record(event, Date.now(), 'end')
    const { exitCode } = await agent.process.exited
    await watch.settle()
    if (!stopping.why) watch.agentEnded(exitCode)
    const { started } = progress
    const kills = Math.max(killsBefore, watch.killsSeen)
    const death = { agent, sandbox: session.sandbox, killsBefore: kills, started, stderr: this.lastStderr.trim() }
    return stopping.ending(false) ?? endingOfDeath(death)
  }
}
