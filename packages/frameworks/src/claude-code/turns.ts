import type { EventBody } from '@vm0/contract'
import type { TurnEnd } from '../driver.js'
import { boundedText } from './bounded.js'
import { amount, list, optionalCount, text, type Message } from './fields.js'
import { nothingSpent, plus, type Spent } from './spent.js'

const maxError = 2000
const maxText = 1024 * 1024

/**
 * From a prompt to the end of its run. Every text that is sent carries an id, and each result names those that it answers. So
 * a text that came too late for one turn, and opens another, is waited for; and a turn that the agent opened by itself ends
 * nothing.
 */
export class Turns {
  private readonly unanswered = new Map<string, string>()
  private spent: Spent = nothingSpent
  private durationMs = 0
  private said = ''
  private output: unknown
  private interrupted = false

  begin(): void {
    this.spent = nothingSpent
    this.durationMs = 0
    this.said = ''
    this.output = undefined
    this.interrupted = false
  }

  sent(id: string, words: string): void {
    this.unanswered.set(id, words)
  }

  withdraw(id: string): void {
    this.unanswered.delete(id)
  }

  interrupt(): void {
    this.interrupted = true
  }

  /** A result of the agent, and what its turn cost; the end of the run where nothing more is to be answered. */
  result(message: Message, spent: Spent): { events: EventBody[]; turnEnd?: TurnEnd } {
    this.spent = plus(this.spent, spent)
    this.durationMs += amount(message.duration_ms)
    const answered = this.answeredBy(message)
    for (const id of answered) this.unanswered.delete(id)
    if (answered.length === 0) return { events: [] }
    this.said = boundedText(text(message.result), maxText)
    this.output = message.structured_output
    const reason = this.interrupted ? 'interrupted' : reasonOf(message)
    if (isLost(message)) {
      const { turnEnd } = this.end('error', errorOf(message, ''))
      return { events: [], turnEnd: { ...turnEnd, conversationLost: true } }
    }
    // After an error the agent still goes on to what waits, but the run has failed.
    if (this.unanswered.size > 0 && reason === 'completed') return { events: [] }
    return this.end(reason, reason === 'completed' || reason === 'interrupted' ? null : errorOf(message, this.said))
  }

  /** What became of a text that was sent. */
  fate(message: Message): { events: EventBody[]; turnEnd?: TurnEnd } {
    const id = text(message.command_uuid)
    const words = this.unanswered.get(id)
    if (words === undefined || !['cancelled', 'discarded', 'refused'].includes(text(message.state)))
      return { events: [] }
    this.unanswered.delete(id)
    const events: EventBody[] = [
      { type: 'notice', level: 'warning', text: `the agent did not take this: ${boundedText(words, 200)}` },
    ]
    if (this.unanswered.size > 0) return { events }
    const end = this.interrupted
      ? this.end('interrupted', null)
      : this.end('error', { code: 'AGENT_FAILED', message: 'the agent did not take the prompt' })
    return { ...end, events: [...events, ...end.events] }
  }

  private answeredBy(message: Message): string[] {
    const named = [message.user_message_uuid, ...list(message.user_message_uuids)].map(text).filter((id) => id !== '')
    if (named.length > 0) return named.filter((id) => this.unanswered.has(id))
    // A result that names nothing is of the agent's own making where it tells an origin; else it answers all (a failed start).
    return message.origin ? [] : [...this.unanswered.keys()]
  }

  private end(reason: TurnEnd['reason'], error: TurnEnd['error']): { events: EventBody[]; turnEnd: TurnEnd } {
    const { usage, costUsd } = this.spent
    const turnEnd = {
      reason,
      text: this.said,
      usage,
      costUsd,
      error,
      unanswered: this.unanswered.size,
      ...(this.output === undefined ? {} : { output: this.output }),
      conversationLost: false,
    }
    this.unanswered.clear()
    return {
      turnEnd,
      events: [{ type: 'agent.finished', reason, text: this.said, usage, costUsd, durationMs: this.durationMs }],
    }
  }
}

/** An agent that is killed in its first moments has told the id of a conversation that it had not written yet. */
function isLost(message: Message): boolean {
  return message.is_error === true && text(list(message.errors)[0]).startsWith('No conversation found with session ID')
}

function reasonOf(message: Message): TurnEnd['reason'] {
  if (text(message.terminal_reason).startsWith('aborted')) return 'interrupted'
  if (message.subtype === 'error_max_turns') return 'max_turns'
  return message.is_error === true || message.subtype !== 'success' ? 'error' : 'completed'
}

function errorOf(message: Message, said: string): TurnEnd['error'] {
  const status = optionalCount(message.api_error_status)
  const words = said || list(message.errors).map(text).join('; ') || text(message.subtype) || 'it said nothing'
  return {
    code: message.subtype === 'success' ? modelErrorCode(status) : 'AGENT_FAILED',
    message: `the agent ended with an error: ${boundedText(words, maxError)}`,
    ...(status ? { httpStatus: status } : {}),
  }
}

export function modelErrorCode(status: number | undefined) {
  if (status === 401 || status === 403) return 'MODEL_UNAUTHORIZED'
  return status === 429 ? 'MODEL_RATE_LIMITED' : 'MODEL_FAILED'
}
