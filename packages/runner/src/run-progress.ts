import { addUsage, noUsage, type EventBody } from '@vm0/contract'

/** What is known of a run from the events of its agent so far. */
export class RunProgress {
  /** The agent has told that its session began. */
  started = false
  /** When the model's first piece came, in milliseconds since 1970. */
  firstTokenAtMs: number | undefined
  /** What the requests so far have used: the account of a run whose agent doesn't come to tell its own. */
  usage = noUsage
  costUsd = 0

  observe(event: EventBody, timeMs: number): void {
    if (event.type === 'run.started') this.started = true
    if (event.type === 'usage' && event.scope === 'step') {
      this.usage = addUsage(this.usage, event.usage)
      this.costUsd += event.costUsd ?? 0
    }
    if (event.type === 'message.delta' || event.type === 'message' || event.type === 'tool.started')
      this.firstTokenAtMs ??= timeMs
  }
}
