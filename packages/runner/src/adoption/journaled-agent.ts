import { randomUUID } from 'node:crypto'
import type { SecretsPort } from '@vm0/backends'
import type { Answer, JournalEntry } from '@vm0/contract'
import type { AgentProtocol, FrameworkDriver, Translated } from '@vm0/frameworks'
import type { MonitoredProcess } from '@vm0/sandbox'
import type { CountedLines } from './counted-lines.js'
import type { Journal } from './journal.js'

export type JournaledCall = Extract<JournalEntry, { t: 'call' }>

export interface JournaledAgentOptions {
  driver: FrameworkDriver
  process: MonitoredProcess
  lines: CountedLines
  resumed: boolean
  /** A person answers what the agent asks. */
  asks: boolean
  secrets: SecretsPort
  /** Absent while a sandbox has no session: nothing that is said to its agent counts yet. */
  journal: Journal | undefined
  /** Of an agent that is gone on with: how many calls the journal has, and which lines the agent has got. */
  before?: { calls: number; sent: ReadonlySet<string> }
}

/**
 * An agent's protocol and its stdin, as everybody uses them, with a journal of what is asked of the one and written to the
 * other: so that a later process can bring a protocol into the same state, and send what was not sent.
 */
export class JournaledAgent {
  readonly protocol: AgentProtocol
  readonly process: MonitoredProcess
  private readonly inner: AgentProtocol
  private readonly ids: string[] = []
  private given: string[] = []
  private calls: number
  /** Lines that are on their way to the agent, by what they are in the journal. */
  private readonly underway = new Map<string, string>()
  private readonly sent: ReadonlySet<string>
  /** Answers that an earlier process has sent: they come up again where its lines are read again. */
  private readonly got = new Set<string>()

  constructor(private readonly options: JournaledAgentOptions) {
    const { driver, resumed, asks, process, before } = options
    this.calls = before?.calls ?? 0
    this.sent = before?.sent ?? new Set()
    this.inner = driver.open({ resumed, asks, newId: () => this.newId() })
    this.protocol = {
      prompt: (text) => this.called('prompt', [text], () => this.inner.prompt(text)),
      input: (text) => this.called('input', [text], () => this.inner.input(text)),
      interrupt: () => this.called('interrupt', [], () => this.inner.interrupt()),
      reload: () => this.called('reload', [], () => this.inner.reload()),
      withdraw: (lines) => void this.called('withdraw', [lines], () => (this.inner.withdraw(lines), [])),
      answer: (answer) => this.answer(answer),
      translate: (line, timeMs) => this.translate(line, timeMs),
      gone: () => this.inner.gone(),
    }
    this.process = {
      id: process.id,
      exited: process.exited,
      write: (line) => this.write(line),
      output: () => process.output(),
      kill: (signal) => process.kill(signal),
      isRunning: () => process.isRunning(),
      pid: () => process.pid(),
    }
  }

  /** Does again what the journal tells; gives the lines of it that the agent has not got. */
  replay({ n, method, args, ids }: JournaledCall): string[] {
    this.given = [...ids]
    const [first] = JSON.parse(this.options.secrets.open(Buffer.from(args, 'base64'))) as unknown[]
    const lines = this.again(method, first)
    this.given = []
    return lines.filter((line, index) => {
      const key = `c${n}.${index}`
      if (!this.sent.has(key)) this.underway.set(line, key)
      return !this.sent.has(key)
    })
  }

  /** A line of before the run that goes on: the protocol has to know it, and nobody else. */
  pass(line: string, timeMs: number): void {
    this.inner.translate(line, timeMs)
  }

  private again(method: JournaledCall['method'], argument: unknown): string[] {
    switch (method) {
      case 'prompt':
      case 'input':
        return this.inner[method](argument as string)
      case 'interrupt':
      case 'reload':
        return this.inner[method]()
      case 'withdraw':
        this.inner.withdraw(argument as string[])
        return []
      case 'answer':
        return this.inner.answer(argument as Answer)?.replies ?? []
    }
  }

  private newId(): string {
    const id = this.given.shift() ?? randomUUID()
    this.ids.push(id)
    return id
  }

  private called(method: JournaledCall['method'], args: unknown[], call: () => string[]): string[] {
    this.ids.length = 0
    const lines = call()
    const n = (this.calls += 1)
    const sealed = this.options.secrets.seal(JSON.stringify(args)).toString('base64')
    const after = this.options.lines.out
    this.options.journal?.add({ t: 'call', n, method, after, args: sealed, ids: [...this.ids], atMs: Date.now() })
    this.expect(lines, `c${n}`)
    return lines
  }

  private answer(answer: Answer): ReturnType<AgentProtocol['answer']> {
    let said: ReturnType<AgentProtocol['answer']>
    const replies = this.called('answer', [answer], () => (said = this.inner.answer(answer))?.replies ?? [])
    return said && { events: said.events, replies }
  }

  private translate(line: string, timeMs: number): Translated {
    const translated = this.inner.translate(line, timeMs)
    this.expect(translated.replies, `l${this.options.lines.out}`)
    return translated
  }

  private expect(lines: readonly string[], key: string): void {
    for (const [index, line] of lines.entries()) {
      if (this.sent.has(`${key}.${index}`)) this.got.add(line)
      else this.underway.set(line, `${key}.${index}`)
    }
  }

  private async write(line: string): Promise<void> {
    if (this.got.delete(line)) return
    const key = this.underway.get(line)
    await this.options.process.write(line)
    if (key === undefined) return
    this.underway.delete(line)
    this.options.journal?.add({ t: 'sent', line: key })
  }
}
