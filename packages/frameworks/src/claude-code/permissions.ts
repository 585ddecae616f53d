import type { EventBody } from '@vm0/contract'
import { bounded } from './bounded.js'
import { optionalText, record, text, type Message } from './fields.js'

const maxInput = 256 * 1024

/**
 * What the agent asks of the one that drives it; it waits for each answer. Nobody is there to be asked, so what the sandbox
 * allows is allowed, and what only a person could answer is refused.
 */
export function answerRequest(message: Message): { events: EventBody[]; replies: string[] } {
  const id = text(message.request_id)
  const request = record(message.request)
  if (request.subtype !== 'can_use_tool') {
    const error = `${text(request.subtype) || 'this request'} is not supported`
    return {
      events: [{ type: 'raw', source: 'claude-code', data: bounded(message, maxInput).value }],
      replies: [response(id, { subtype: 'error', error })],
    }
  }
  const call = { requestId: id, toolId: optionalText(request.tool_use_id), name: text(request.tool_name) }
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
