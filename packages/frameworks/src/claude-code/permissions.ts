import type { Answer, EventBody } from '@vm0/contract'
import { bounded, remember } from './bounded.js'
import { optionalText, record, text, type Message } from './fields.js'

const maxInput = 256 * 1024

interface Said {
  events: EventBody[]
  replies: string[]
}

interface Call {
  requestId: string
  toolId: string | undefined
  name: string
}

const maxOpen = 1000

/** What the agent asks, and a person answers. */
export class Questions {
  private readonly open = new Map<string, { call: Call; input: Message }>()

  ask(message: Message): Said {
    const request = record(message.request)
    if (request.subtype !== 'can_use_tool') return answerRequest(message)
    const call = callOf(message)
    remember(this.open, call.requestId, { call, input: record(request.input) }, maxOpen)
    const input = bounded(request.input, maxInput).value
    return { events: [{ type: 'permission.requested', ...call, input }], replies: [] }
  }

  answer({ requestId, decision, message, input }: Answer): Said | undefined {
    const question = this.open.get(requestId)
    if (!question) return undefined
    this.open.delete(requestId)
    const words = message ?? 'The person who was asked has refused this.'
    const answer =
      decision === 'allow'
        ? { behavior: 'allow', updatedInput: input ?? question.input }
        : { behavior: 'deny', message: words }
    const told = decision === 'deny' ? { message: words } : {}
    return {
      events: [{ type: 'permission.resolved', ...question.call, decision, by: 'person', ...told }],
      replies: [response(requestId, { subtype: 'success', response: answer })],
    }
  }

  /** The agent asks it no more, as after an interrupt. */
  withdrawn(message: Message): EventBody[] {
    const question = this.open.get(text(message.request_id))
    this.open.delete(text(message.request_id))
    return question ? [{ type: 'permission.resolved', ...question.call, decision: 'deny', by: 'agent' }] : []
  }
}

function callOf(message: Message): Call {
  const request = record(message.request)
  return {
    requestId: text(message.request_id),
    toolId: optionalText(request.tool_use_id),
    name: text(request.tool_name),
  }
}

/**
 * What the agent asks of the one that drives it; it waits for each answer. Nobody is there to be asked, so what the sandbox
 * allows is allowed, and what only a person could answer is refused.
 */
export function answerRequest(message: Message): Said {
  const id = text(message.request_id)
  const request = record(message.request)
  if (request.subtype !== 'can_use_tool') {
    const error = `${text(request.subtype) || 'this request'} is not supported`
    return {
      events: [{ type: 'raw', source: 'claude-code', data: bounded(message, maxInput).value }],
      replies: [response(id, { subtype: 'error', error })],
    }
  }
  const call = callOf(message)
  const allowed = request.requires_user_interaction !== true
  const refusal = 'Nobody is there to answer: go on with what you think best.'
  const answer = allowed
    ? { behavior: 'allow', updatedInput: record(request.input) }
    : { behavior: 'deny', message: refusal }
  return {
    events: [
      { type: 'permission.requested', ...call, input: bounded(request.input, maxInput).value },
      {
        type: 'permission.resolved',
        ...call,
        decision: allowed ? 'allow' : 'deny',
        by: 'platform',
        ...(allowed ? {} : { message: refusal }),
      },
    ],
    replies: [response(id, { subtype: 'success', response: answer })],
  }
}

function response(requestId: string, answer: Record<string, unknown>): string {
  return JSON.stringify({ type: 'control_response', response: { request_id: requestId, ...answer } })
}
