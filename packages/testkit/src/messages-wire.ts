import { randomBytes } from 'node:crypto'
import type { Step } from './script.js'

interface Block {
  type: string
  text?: string
  content?: unknown
}
export interface MessagesRequest {
  model: string
  stream?: boolean
  system?: unknown
  tools?: unknown[]
  messages: { role: string; content: string | Block[] }[]
}
type WireEvent = { type: string } & Record<string, unknown>

/** About four characters a token. */
export function countTokens(value: unknown): number {
  return Math.ceil(JSON.stringify(value ?? '').length / 4)
}

/** The answer as the events of a stream and as one message. */
export function answerEvents(
  step: Pick<Step, 'thinking' | 'text' | 'tools'>,
  request: MessagesRequest,
): { stream: WireEvent[]; message: Record<string, unknown> } {
  const id = `msg_${randomBytes(12).toString('hex')}`
  const content = [
    ...(step.thinking ? [{ type: 'thinking', thinking: step.thinking, signature: 'c2NyaXB0ZWQ=' }] : []),
    ...(step.text === undefined ? [] : [{ type: 'text', text: step.text }]),
    ...(step.tools ?? []).map(({ name, input }) => ({
      type: 'tool_use',
      id: `toolu_${randomBytes(12).toString('hex')}`,
      name,
      input,
    })),
  ]
  const stopReason = step.tools?.length ? 'tool_use' : 'end_turn'
  const usage = {
    input_tokens: countTokens(request.messages),
    output_tokens: countTokens(content),
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
  }
  const base = { id, type: 'message', role: 'assistant', model: request.model }
  const stream: WireEvent[] = [
    {
      type: 'message_start',
      message: { ...base, content: [], stop_reason: null, stop_sequence: null, usage: { ...usage, output_tokens: 1 } },
    },
  ]
  content.forEach((block, index) => {
    if ('thinking' in block) {
      stream.push({
        type: 'content_block_start',
        index,
        content_block: { type: 'thinking', thinking: '', signature: '' },
      })
      stream.push(
        { type: 'content_block_delta', index, delta: { type: 'thinking_delta', thinking: block.thinking } },
        { type: 'content_block_delta', index, delta: { type: 'signature_delta', signature: block.signature } },
      )
    } else if ('text' in block) {
      stream.push({ type: 'content_block_start', index, content_block: { type: 'text', text: '' } })
      for (const piece of block.text.match(/\S+\s*|\s+/g) ?? [])
        stream.push({ type: 'content_block_delta', index, delta: { type: 'text_delta', text: piece } })
    } else {
      stream.push({ type: 'content_block_start', index, content_block: { ...block, input: {} } })
      stream.push({
        type: 'content_block_delta',
        index,
        delta: { type: 'input_json_delta', partial_json: JSON.stringify(block.input) },
      })
    }
    stream.push({ type: 'content_block_stop', index })
  })
  stream.push(
    {
      type: 'message_delta',
      delta: { stop_reason: stopReason, stop_sequence: null },
      usage: { output_tokens: usage.output_tokens },
    },
    { type: 'message_stop' },
  )
  return { stream, message: { ...base, content, stop_reason: stopReason, stop_sequence: null, usage } }
}
