import type { SecretsPort } from '@vm0/backends'
import type { FrameworkDriver, LaunchSpec } from '@vm0/frameworks'
import type { MonitoredProcess, OutputLine } from '@vm0/sandbox'
import type { LiveAgent } from '../live-agent.js'
import { CountedLines } from './counted-lines.js'
import type { Journal } from './journal.js'
import { JournaledAgent } from './journaled-agent.js'
import type { AgentStory, RunStory } from './story.js'

export interface ReplayOptions {
  driver: FrameworkDriver
  process: MonitoredProcess
  story: AgentStory
  run: RunStory
  secrets: SecretsPort
  journal: Journal
  /** Everything that was said to the agent before has been said again to its protocol. */
  onCaughtUp(): void
}

/** An agent that an earlier process has given a run to: its lines are those of the run, from the first. */
export function replayAgent(options: ReplayOptions): LiveAgent {
  const { driver, process, story, secrets, journal } = options
  const lines = new ReplayedLines(options)
  const spec = JSON.parse(secrets.open(Buffer.from(story.spec, 'base64'))) as LaunchSpec
  const before = { calls: Math.max(0, ...story.calls.map(({ n }) => n)), sent: story.sent }
  const agent = new JournaledAgent({
    driver,
    process,
    lines,
    resumed: story.resumed,
    asks: spec.permissions === 'ask',
    secrets,
    journal,
    before,
  })
  lines.agent = agent
  return {
    framework: story.framework,
    process: agent.process,
    protocol: agent.protocol,
    lines,
    spec,
    version: story.version,
    journal,
  }
}

/** The output of an agent, read again: calls come up where they were made, and what was before the run is passed over. */
class ReplayedLines extends CountedLines {
  agent!: JournaledAgent
  private readonly calls: AgentStory['calls'][number][]
  private done = 0
  private caughtUp = false

  constructor(private readonly options: ReplayOptions) {
    super(options.process.output()[Symbol.asyncIterator]())
    this.calls = [...options.story.calls]
  }

  override async next(): Promise<IteratorResult<OutputLine>> {
    for (;;) {
      await this.repeatCalls()
      const next = await super.next()
      if (next.done || !this.isBefore(next.value)) return next
    }
  }

  private async repeatCalls(): Promise<void> {
    const { run, onCaughtUp } = this.options
    for (let call = this.calls[0]; call && call.after <= this.out; call = this.calls[0]) {
      this.calls.shift()
      const missing = this.agent.replay(call)
      this.done += 1
      if (this.done > run.callsBefore) for (const line of missing) await this.agent.process.write(line)
    }
    if (this.caughtUp || this.calls.length > 0) return
    this.caughtUp = true
    onCaughtUp()
  }

  private isBefore({ stream, text, timeMs }: OutputLine): boolean {
    const { run, story } = this.options
    if (stream === 'stderr') return this.err <= run.read.err
    if (this.out > run.read.out) return false
    if (this.out > story.read.out) this.agent.pass(text, timeMs)
    return true
  }
}
