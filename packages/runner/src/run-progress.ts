import { addUsage, noUsage, type EventBody, type Usage } from '@vm0/contract'

export interface Account {
  usage: Usage
  costUsd: number
}

const plus = (a: Account, b: Account): Account => ({
  usage: addUsage(a.usage, b.usage),
  costUsd: a.costUsd + b.costUsd,
})

/** What is known of a run from the events of its agent so far. */
export class RunProgress {
  /** The agent has told that its session began. */
  started = false
  /** When it first did, in milliseconds since 1970. */
  startedAtMs: number | undefined
  /** When the model's first piece came, in milliseconds since 1970. */
  firstTokenAtMs: number | undefined
  private steps: Account = { usage: noUsage, costUsd: 0 }
  private earlier: Account = { usage: noUsage, costUsd: 0 }

  observe(event: EventBody, timeMs: number): void {
    if (event.type === 'run.started') {
      this.started = true
      this.startedAtMs ??= timeMs
    }
    if (event.type === 'usage' && event.scope === 'step')
      this.steps = plus(this.steps, { usage: event.usage, costUsd: event.costUsd ?? 0 })
    if (event.type === 'message.delta' || event.type === 'message' || event.type === 'tool.started')
      this.firstTokenAtMs ??= timeMs
  }

  /** Another agent takes the run up: what it will tell of its turn is its own alone. */
  resumed(): void {
    this.started = false
    this.earlier = this.steps
  }

  /** What the run has used: by its agent's own sum where it came to tell it, by its requests otherwise. */
  account(turn: Account | undefined): Account {
    return turn ? plus(this.earlier, turn) : this.steps
  }
}
