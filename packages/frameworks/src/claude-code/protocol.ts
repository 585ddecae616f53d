import { randomUUID } from 'node:crypto'
import type { Answer, EventBody } from '@vm0/contract'
import type { AgentProtocol, Translated } from '../driver.js'
import { bounded, boundedText } from './bounded.js'
import { Conversation, type Said } from './conversation.js'
import { list, optionalShort, record, short, text, type Message } from './fields.js'
import { MessageStream } from './message-stream.js'
import { answerRequest, Questions } from './permissions.js'
import { Spending } from './spending.js'
import { SubAgents } from './subagents.js'
import { initNotices, rateLimitEvent, systemEvents } from './system-messages.js'
import { recordedResults } from './tool-results.js'
import { ToolCalls } from './tools.js'
import { Turns } from './turns.js'
import { userMessage } from './user-message.js'

const source = 'claude-code'
const maxRaw = 64 * 1024
const maxEventLength = 1024 * 1024
const maxEvents = 1000

export interface ProtocolOptions {
  /** The process goes on with an old conversation. */
  resumed: boolean
  /** A person answers what the agent asks. */
  asks?: boolean
  /** Ids of what is sent; never used before in the conversation: the agent drops a text whose id it has seen. */
  newId?: () => string
}

/** Claude Code's stream-json, as one process speaks it. */
export class ClaudeProtocol implements AgentProtocol {
  private readonly stream = new MessageStream()
  private readonly calls = new ToolCalls()
  private readonly conversation = new Conversation(this.calls)
  private readonly subAgents = new SubAgents(this.calls)
  private readonly turns = new Turns()
  private readonly questions: Questions | undefined
  private readonly spending: Spending
  private readonly newId: () => string
  private announced = false
  /** From `/clear` to its result: nothing of it belongs to a turn. */
  private reloading = false
  private interrupts = 0

  constructor({ resumed, asks = false, newId = randomUUID }: ProtocolOptions) {
    this.questions = asks ? new Questions() : undefined
    this.spending = new Spending({ resumed })
    this.newId = newId
  }

  prompt(words: string): string[] {
    this.turns.begin()
    this.announced = false
    return [...this.spending.opening(), ...this.input(words)]
  }

  input(words: string): string[] {
    const id = this.newId()
    this.turns.sent(id, words)
    return [userMessage(words, id)]
  }

  gone(): EventBody[] {
    return this.spending.gone()
  }

  reload(): string[] {
    this.reloading = true
    return [userMessage('/clear')]
  }

  withdraw(lines: readonly string[]): void {
    for (const line of lines) this.turns.withdraw(text(record(JSON.parse(line)).uuid))
  }

  answer(answer: Answer): Pick<Translated, 'events' | 'replies'> | undefined {
    return this.questions?.answer(answer)
  }

  interrupt(): string[] {
    this.turns.interrupt()
    this.interrupts += 1
    // What waits is dropped too: it would open the next turn.
    const request = { subtype: 'interrupt', cancel_queued: true }
    return [JSON.stringify({ type: 'control_request', request_id: `vm0-interrupt-${this.interrupts}`, request })]
  }

  translate(line: string, timeMs: number): Translated {
    let message: Message
    try {
      message = record(JSON.parse(line))
    } catch {
      const data = boundedText(line, maxRaw)
      return events({ type: 'raw', source, data, ...(data === line ? {} : { truncated: true }) })
    }
    const read = this.read(message, timeMs) ?? unknownMessage(message, line)
    return line.length > maxEventLength ? { ...read, events: ofSensibleSize(read.events) } : read
  }

  /** Undefined for a message that is not known. */
  private read(message: Message, timeMs: number): Translated | undefined {
    if (this.reloading) {
      if (message.type === 'result') this.reloading = false
      return events()
    }
    switch (message.type) {
      case 'system':
        return this.system(message)
      case 'stream_event': {
        const read = this.stream.read(message)
        return read && this.said({ events: read.events, ended: read.ended ? [read.ended] : [] })
      }
      case 'assistant':
        return this.said(this.conversation.assistant(message, timeMs))
      case 'user':
        return this.said(this.conversation.user(message, timeMs))
      case 'result':
        return this.result(message)
      case 'command_lifecycle':
        return { replies: [], ...this.turns.fate(message) }
      case 'control_request':
        return this.questions?.ask(message) ?? answerRequest(message)
      case 'control_response':
        return events(...(this.spending.answered(record(message.response)) ?? []))
      case 'rate_limit_event':
        return events(rateLimitEvent(message))
      case 'conversation_reset':
        return events({ type: 'notice', level: 'info', text: 'the conversation begins anew' })
      case 'control_cancel_request':
        return events(...(this.questions?.withdrawn(message) ?? []))
      case 'keep_alive':
      case 'tool_progress':
        return events()
      case 'transcript_mirror':
        return { ...events(), recorded: recordedResults(message) }
      default:
        return undefined
    }
  }

  private system(message: Message): Translated | undefined {
    switch (message.subtype) {
      case 'init':
        return this.init(message)
      case 'task_started':
        return events(...this.subAgents.started(message))
      case 'task_notification':
        return this.said({
          events: this.subAgents.finished(message),
          ended: this.conversation.left(optionalShort(message.tool_use_id)),
        })
      default: {
        const known = systemEvents(message)
        return known && events(...known)
      }
    }
  }

  /** Comes at the head of each turn, and again in the middle of one, as after a compaction. */
  private init(message: Message): Translated {
    const first = !this.announced
    this.announced = true
    const agentSessionId = sessionIdOf(message)
    const started: EventBody = {
      type: 'run.started',
      agentSessionId: agentSessionId ?? '',
      model: short(message.model),
      cwd: text(message.cwd),
      tools: list(message.tools).map(short),
      agentVersion: short(message.claude_code_version),
      permissionMode: optionalShort(message.permissionMode),
      mcpServers: list(message.mcp_servers)
        .map(record)
        .map(({ name, status }) => ({ name: short(name), status: short(status) })),
    }
    return {
      ...(first ? events(started, ...initNotices(message)) : events()),
      ...(agentSessionId ? { agentSessionId } : {}),
    }
  }

  private result(message: Message): Translated {
    const turn = this.spending.turn(message)
    const end = this.turns.result(message, turn.spent)
    const agentSessionId = sessionIdOf(message)
    return {
      replies: [],
      ...end,
      events: [...turn.events, ...end.events],
      ...(agentSessionId ? { agentSessionId } : {}),
    }
  }

  private said({ events: told, ended }: Said): Translated {
    return { events: told, replies: ended.flatMap((step) => this.spending.ended(step)) }
  }
}

/** It names a conversation and is handed to the next process: nothing but the agent's own form will do. */
function sessionIdOf(message: Message): string | undefined {
  const id = text(message.session_id)
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id) ? id : undefined
}

/** What a line of many megabytes becomes: no event is larger than a model's longest answer, nor are there thousands. */
function ofSensibleSize(all: EventBody[]): EventBody[] {
  const events = all.slice(0, maxEvents).map((event): EventBody => {
    const json = JSON.stringify(event)
    return json.length <= maxEventLength
      ? event
      : { type: 'raw', source, data: boundedText(json, maxRaw), truncated: true }
  })
  if (all.length > maxEvents)
    events.push({
      type: 'notice',
      level: 'warning',
      text: `${all.length - maxEvents} more events of one message are cut`,
    })
  return events
}

function unknownMessage(message: Message, line: string): Translated {
  const { value, cut } = bounded(Object.keys(message).length > 0 ? message : line, maxRaw)
  return events({ type: 'raw', source, data: value, ...(cut ? { truncated: true } : {}) })
}

function events(...list: EventBody[]): Translated {
  return { events: list, replies: [] }
}
