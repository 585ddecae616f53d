import { Vm0Error } from '@vm0/contract'
import { writeLines, type LiveAgent } from './live-agent.js'

/**
 * What a run says to its agent: the prompt, and what a person says meanwhile.
 *
 *   before ──begin──▶ open ──end──▶ over
 *
 * Only `open` takes input, and input that was taken is answered before the run ends: the agent's protocol waits for it.
 */
export class AgentTalk {
  private state: 'before' | 'open' | 'over' = 'before'
  private agent: LiveAgent | undefined
  private readonly said: { text: string }[] = []

  get isOver(): boolean {
    return this.state === 'over'
  }

  /** Sends the prompt; to an agent that takes the place of another one, also what was said since. */
  async begin(agent: LiveAgent, prompt: string): Promise<void> {
    const { protocol } = agent
    this.agent = agent
    this.state = 'open'
    await writeLines(agent, [...protocol.prompt(prompt), ...this.said.flatMap(({ text }) => protocol.input(text))])
  }

  /** An earlier process has sent the prompt, and what was `said` since. */
  goOn(agent: LiveAgent, said: readonly string[]): void {
    if (this.state !== 'before') return
    this.agent = agent
    this.state = 'open'
    this.said.push(...said.map((text) => ({ text })))
  }

  /** Throws NOT_READY before the prompt was sent, and RUN_ENDED once the last turn has ended; resolves when it is written. */
  input(text: string): Promise<void> {
    if (this.state === 'over') throw new Vm0Error('RUN_ENDED', 'the run is ending and takes no more input')
    const { agent } = this
    if (!agent || this.state === 'before')
      throw new Vm0Error('NOT_READY', 'the agent has not started yet; expected input after the run.started event')
    const lines = agent.protocol.input(text)
    const entry = { text }
    this.said.push(entry)
    return writeLines(agent, lines).catch((error: unknown) => {
      agent.protocol.withdraw(lines)
      this.said.splice(this.said.indexOf(entry), 1)
      throw error
    })
  }

  /** What the platform itself has to say. False: nobody listens, before the prompt and after the last turn. */
  mention(text: string): boolean {
    if (this.state !== 'open') return false
    void this.input(text).catch(() => undefined)
    return true
  }

  /** Not awaited: an agent that doesn't read must not keep its run from seeing its end, which tells why a write failed. */
  tell(agent: LiveAgent, lines: string[]): void {
    void writeLines(agent, lines).catch(() => undefined)
  }

  /** Its agent is gone: nothing can be said until `begin` gives it another one. */
  pause(): void {
    if (this.state === 'open') this.state = 'before'
  }

  /** What was said since the prompt, for whoever repeats it in other words. */
  takeSaid(): string[] {
    return this.said.splice(0).map(({ text }) => text)
  }

  end(): void {
    this.state = 'over'
  }
}
