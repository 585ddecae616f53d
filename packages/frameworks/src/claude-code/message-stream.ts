import type { EventBody, Usage } from '@vm0/contract'
import { remember } from './bounded.js'
import { count, nesting, optionalCount, record, short, text, type Message, type Nested } from './fields.js'

/** A model request that has ended: which message it gave, and what it used as far as the stream tells. */
export interface Step extends Nested {
  messageId: string
  model: string
  usage: Usage
  /** `usage` is whole: of a sub-agent's answers the output is not told. */
  exact: boolean
}

const maxScopes = 1000

/** The model's answers as they come, piece by piece. Each sub-agent is a scope of its own. */
export class MessageStream {
  private readonly open = new Map<string, Step>()

  /** Undefined for an event that is not known. */
  read(message: Message): { events: EventBody[]; ended?: Step } | undefined {
    const event = record(message.event)
    const nested = nesting(message)
    const scope = nested.parentToolId ?? ''
    switch (event.type) {
      case 'message_start': {
        const started = record(event.message)
        const step = {
          messageId: short(started.id),
          model: short(started.model),
          usage: usageOf(record(started.usage)),
          exact: true,
          ...nested,
        }
        remember(this.open, scope, step, maxScopes)
        return { events: [] }
      }
      case 'content_block_delta':
        return { events: this.delta(record(event.delta), scope, nested) }
      case 'message_delta': {
        const step = this.open.get(scope)
        if (step) step.usage = { ...step.usage, ...laterUsage(record(event.usage)) }
        return { events: [] }
      }
      case 'message_stop':
        return this.stop(message, scope, nested)
      case 'content_block_start':
      case 'content_block_stop':
      case 'ping':
        return { events: [] }
      default:
        return undefined
    }
  }

  private delta(delta: Message, scope: string, nested: Nested): EventBody[] {
    const messageId = this.open.get(scope)?.messageId ?? ''
    switch (delta.type) {
      case 'text_delta':
        return [{ type: 'message.delta', messageId, text: text(delta.text), ...nested }]
      case 'thinking_delta':
        return [{ type: 'thinking.delta', messageId, text: text(delta.thinking), ...nested }]
      default:
        return [] // arguments of tool calls come whole with the message, signatures say nothing to a person
    }
  }

  private stop(message: Message, scope: string, nested: Nested): { events: EventBody[]; ended?: Step } {
    const ended = this.open.get(scope)
    this.open.delete(scope)
    if (!ended) return { events: [] }
    return {
      // The agent closes a stream that broke off, and tells that parts of it are void.
      events: message.abandoned_blocks ? [{ type: 'message.abandoned', messageId: ended.messageId, ...nested }] : [],
      ended,
    }
  }
}

/** Input without what came from or went to the cache. */
export function usageOf(usage: Message): Usage {
  return {
    inputTokens: count(usage.input_tokens),
    outputTokens: count(usage.output_tokens),
    cacheReadTokens: count(usage.cache_read_input_tokens),
    cacheWriteTokens: count(usage.cache_creation_input_tokens),
  }
}

/** The totals at a message's end; those that it doesn't tell stay as they were at its start. */
function laterUsage(usage: Message): Partial<Usage> {
  const told = {
    inputTokens: optionalCount(usage.input_tokens),
    outputTokens: optionalCount(usage.output_tokens),
    cacheReadTokens: optionalCount(usage.cache_read_input_tokens),
    cacheWriteTokens: optionalCount(usage.cache_creation_input_tokens),
  }
  return Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined))
}
