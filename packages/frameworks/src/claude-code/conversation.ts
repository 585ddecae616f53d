import type { EventBody } from '@vm0/contract'
import { bounded, boundedText, remember } from './bounded.js'
import { list, nesting, optionalCount, optionalText, record, short, text, type Message, type Nested } from './fields.js'
import { usageOf, type Step } from './message-stream.js'
import { maxNotice } from './system-messages.js'
import { TaskList } from './task-list.js'
import type { ToolCalls } from './tools.js'
import { modelErrorCode } from './turns.js'

const maxScopes = 1000
const maxRaw = 64 * 1024

export interface Said {
  events: EventBody[]
  /** Model requests that are known to have ended by this message. */
  ended: Step[]
}

/** The whole messages of a conversation: what the model said, and what its tools gave back. */
export class Conversation {
  private readonly taskList = new TaskList()
  /** The answer that each sub-agent is at: the stream doesn't tell the ends of those. */
  private readonly current = new Map<string, Step>()
  private unstreamed = ''

  constructor(private readonly calls: ToolCalls) {}

  assistant(message: Message, timeMs: number): Said {
    const nested = nesting(message)
    const said = record(message.message)
    if (message.is_api_error_message === true || message.error !== undefined)
      return { events: [apiError(message, said)], ended: [] }
    const messageId = short(said.id)
    // An answer that was not streamed, as after garbage in the stream, comes with its end.
    const whole = typeof said.stop_reason === 'string'
    const step = { messageId, model: short(said.model), usage: usageOf(record(said.usage)), exact: whole, ...nested }
    const events = list(said.content).flatMap((block) => this.block(record(block), messageId, nested, timeMs))
    return { events: whole && !nested.parentToolId ? events.flatMap(withDelta) : events, ended: this.reached(step) }
  }

  user(message: Message, timeMs: number): Said {
    const nested = nesting(message)
    const { content } = record(message.message)
    const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : list(content).map(record)
    const events = blocks.flatMap((block): EventBody[] => {
      if (block.type === 'tool_result') return this.result(block, message.tool_use_result, nested, timeMs)
      // What a person or a parent agent said is told where it was sent; the rest are the agent's own words.
      const own = block.type === 'text' && !nested.parentToolId && message.isReplay !== true
      return own ? [{ type: 'notice', level: 'info', text: boundedText(text(block.text), maxNotice) }] : []
    })
    return { events, ended: this.left(nested.parentToolId) }
  }

  /** A sub-agent has ended: so has its last request. */
  left(scope: string | undefined): Step[] {
    const step = scope === undefined ? undefined : this.current.get(scope)
    if (scope === undefined || !step) return []
    this.current.delete(scope)
    return [step]
  }

  /** Each block of an answer is a message of its own, with the same id. */
  private reached(step: Step): Step[] {
    const scope = step.parentToolId
    if (scope === undefined) {
      if (!step.exact || this.unstreamed === step.messageId) return []
      this.unstreamed = step.messageId
      return [step]
    }
    if (this.current.get(scope)?.messageId === step.messageId) return []
    const before = this.left(scope)
    remember(this.current, scope, step, maxScopes)
    return before
  }

  private block(block: Message, messageId: string, nested: Nested, timeMs: number): EventBody[] {
    switch (block.type) {
      case 'text':
        return [{ type: 'message', messageId, text: text(block.text), ...nested }]
      case 'thinking':
        return [{ type: 'thinking', messageId, text: text(block.thinking), redacted: false, ...nested }]
      case 'redacted_thinking':
        return [{ type: 'thinking', messageId, text: '', redacted: true, ...nested }]
      case 'tool_use':
      case 'server_tool_use':
      case 'mcp_tool_use':
        return [this.calls.start(block, nested, timeMs)]
      default:
        // Tools that run at the model's provider give their results in the answer itself.
        return text(block.type).endsWith('_tool_result')
          ? this.result(block, undefined, nested, timeMs)
          : [{ type: 'raw', source: 'claude-code', data: bounded(block, maxRaw).value }]
    }
  }

  private result(block: Message, detail: unknown, nested: Nested, timeMs: number): EventBody[] {
    const { event, call } = this.calls.finish(block, nested, timeMs)
    const plan = call && event.ok ? this.taskList.after(call, detail, nested) : undefined
    return plan ? [event, plan] : [event]
  }
}

/** Who follows the main conversation by its deltas misses nothing. */
function withDelta(event: EventBody): EventBody[] {
  if (event.type === 'message') return [{ type: 'message.delta', messageId: event.messageId, text: event.text }, event]
  return [event]
}

/** The agent puts an API's error into the conversation as if the model had said it. */
function apiError(message: Message, said: Message): EventBody {
  const status = optionalCount(message.api_error_status)
  const words = list(said.content)
    .map((block) => text(record(block).text))
    .join('\n')
  return {
    type: 'error',
    code: modelErrorCode(status),
    message: boundedText(words || optionalText(message.error) || 'the model gave an error', maxNotice),
    retryable: false,
    httpStatus: status,
  }
}
