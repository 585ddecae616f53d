import type { EventBody } from '@vm0/contract'
import { record, text, type Message } from './fields.js'
import type { Step } from './message-stream.js'
import { covers, isSomething, nothingSpent, plus, share, since, spentByModel, without } from './spent.js'
import type { Spent, SpentByModel } from './spent.js'

const requestPrefix = 'vm0-usage-'
const maxPending = 1000

/**
 * Tokens and dollars, by request and by turn.
 *
 * The stream tells a request's tokens only for the main conversation, and no cost; a sub-agent's answers come without their
 * output tokens, and compactions and retries not at all. So after each request the agent is asked for its totals so far, and
 * the difference is what was used since. A turn's result states the turn's own sum, which is what is billed: totals go on
 * across a resume, and a process that was killed has not saved its own.
 */
export class Spending {
  /** The agent's totals when it last told them, and at the last result; undefined until a resumed process tells its first. */
  private totals: SpentByModel | undefined
  private turnBegan: SpentByModel | undefined
  /** What the steps of this turn that were told add up to. */
  private told = new Map<string, Spent>()
  /** Of the totals that were told, what later requests are to account for: they had ended when an earlier one was answered. */
  private ahead = new Map<string, Spent>()
  private readonly pending = new Map<string, Step>()
  private asked = 0

  constructor({ resumed }: { resumed: boolean }) {
    if (!resumed) this.totals = this.turnBegan = new Map()
  }

  /** Lines to write before a prompt: what a resumed process begins with. */
  opening(): string[] {
    return this.totals || this.asked > 0 ? [] : [this.ask().line]
  }

  /** A request has ended: lines that ask what it cost. */
  ended(step: Step): string[] {
    const { id, line } = this.ask()
    if (this.pending.size < maxPending) this.pending.set(id, step)
    return [line]
  }

  /** The agent's answer to a question for its totals; undefined for the answer to another request. */
  answered(response: Message): EventBody[] | undefined {
    const id = text(response.request_id)
    if (!id.startsWith(requestPrefix)) return undefined
    const step = this.pending.get(id)
    this.pending.delete(id)
    const session = record(record(response.response).session)
    if (response.subtype !== 'success' || !('model_usage' in session)) return step ? [this.unpriced(step)] : []
    const before = this.totals
    this.totals = spentByModel(session.model_usage)
    this.turnBegan ??= this.totals
    return before ? this.tell(this.own(since(before, this.totals), step), step) : []
  }

  /** The part of what was used that belongs to this request; the rest is kept for those that wait for their answer. */
  private own(used: SpentByModel, step: Step | undefined): SpentByModel {
    const all = new Map(this.ahead)
    for (const [model, spent] of used) all.set(model, plus(all.get(model) ?? nothingSpent, spent))
    this.ahead = new Map()
    const known = step && all.get(step.model)
    if (!known) return all
    const later = [...this.pending.values()].filter(({ exact, model }) => exact && model === step.model)
    const others = later.reduce((sum, { usage }) => plus(sum, { usage, costUsd: 0 }), nothingSpent)
    const usage = step.exact ? step.usage : without(known, others).usage
    if (!covers(known.usage, usage) || (!step.exact && !covers(known.usage, others.usage))) return all
    const own = share(known, usage)
    this.ahead.set(step.model, without(known, own))
    return all.set(step.model, own)
  }

  /** What a turn used, from its result, and the steps of it that were not told yet. */
  turn(result: Message): { events: EventBody[]; spent: Spent } {
    const totals = spentByModel(result.modelUsage)
    const stated = result.model_usage_since_last_result
    const used = stated ? spentByModel(stated) : since(this.turnBegan ?? totals, totals)
    this.ahead = new Map([...used].map(([model, spent]) => [model, without(spent, this.toldOf(model))]))
    const events: EventBody[] = []
    for (const [id, step] of this.pending) {
      this.pending.delete(id)
      events.push(...this.tell(this.own(new Map(), step), step))
    }
    events.push(...this.tell(this.ahead, undefined))
    for (const [model, spent] of used) events.push({ type: 'usage', scope: 'turn', model, ...spent })
    this.ahead.clear()
    this.told.clear()
    this.totals = this.turnBegan = totals
    return { events, spent: [...used.values()].reduce(plus, nothingSpent) }
  }

  private tell(used: SpentByModel, step: Step | undefined): EventBody[] {
    return [...used]
      .filter(([, spent]) => isSomething(spent))
      .map(([model, spent]) => {
        this.told.set(model, plus(this.toldOf(model), spent))
        return { type: 'usage', scope: 'step', model, ...spent, ...(step?.model === model ? requestOf(step) : {}) }
      })
  }

  /** The process has ended and answers no more: the requests that it was asked about, as far as the stream tells. */
  gone(): EventBody[] {
    const steps = [...this.pending.values()]
    this.pending.clear()
    return steps.map((step) => this.unpriced(step))
  }

  /** As far as the stream tells, where the agent doesn't tell its totals. */
  private unpriced(step: Step): EventBody {
    const { model, usage } = step
    this.told.set(model, plus(this.toldOf(model), { usage, costUsd: 0 }))
    return { type: 'usage', scope: 'step', model, usage, ...requestOf(step) }
  }

  private toldOf(model: string): Spent {
    return this.told.get(model) ?? nothingSpent
  }

  private ask(): { id: string; line: string } {
    this.asked += 1
    const id = `${requestPrefix}${this.asked}`
    const request = { subtype: 'get_usage', skip_behaviors: true, detached: true }
    return { id, line: JSON.stringify({ type: 'control_request', request_id: id, request }) }
  }
}

function requestOf({ messageId, parentToolId }: Step) {
  return { messageId, ...(parentToolId === undefined ? {} : { parentToolId }) }
}
