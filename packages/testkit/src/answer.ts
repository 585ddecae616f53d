import { randomBytes } from 'node:crypto'
import { countTokens, type MessagesRequest } from './request.js'
import type { Step } from './script.js'

export type WireEvent = { type: string } & Record<string, unknown>

/** Characters of a tool call's arguments in one event: few, so that a reader has to join them. */
const jsonPiece = 24

export type Answer = Pick<Step, 'thinking' | 'text' | 'tools' | 'blocks' | 'stopReason' | 'usage'>

/** The answer as the events of a stream and as one message. */
export function answerEvents(
  answer: Answer,
  request: MessagesRequest,
): { stream: WireEvent[]; message: Record<string, unknown> } {
  const blocks = [
    ...(answer.thinking === undefined ? [] : [thinkingBlock(answer.thinking)]),
    ...(answer.text === undefined ? [] : [textBlock(answer.text)]),
    ...(answer.tools ?? []).map(toolBlock),
    ...(answer.blocks ?? []).map((block) => ({ block, start: block, deltas: [] })),
  ]
  const content = blocks.map(({ block }) => block)
  const usage = {
    input_tokens: answer.usage?.input ?? countTokens(request.messages),
    cache_creation_input_tokens: answer.usage?.cacheWrite ?? 0,
    cache_read_input_tokens: answer.usage?.cacheRead ?? 0,
    output_tokens: answer.usage?.output ?? countTokens(content),
  }
  const base = { id: newId('msg'), type: 'message', role: 'assistant', model: request.model }
  const stopReason = answer.stopReason ?? (answer.tools?.length ? 'tool_use' : 'end_turn')
  return {
    message: { ...base, content, stop_reason: stopReason, stop_sequence: null, usage },
    stream: [
      {
        type: 'message_start',
        // Output is known at the end only: what stands here is what was made when the stream began.
        message: {
          ...base,
          content: [],
          stop_reason: null,
          stop_sequence: null,
          usage: { ...usage, output_tokens: Math.min(1, usage.output_tokens) },
        },
      },
      { type: 'ping' },
      ...blocks.flatMap(({ start, deltas }, index): WireEvent[] => [
        { type: 'content_block_start', index, content_block: start },
        ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
        { type: 'content_block_stop', index },
      ]),
      {
        type: 'message_delta',
        delta: { stop_reason: stopReason, stop_sequence: null },
        usage: { output_tokens: usage.output_tokens },
      },
      { type: 'message_stop' },
    ],
  }
}

function thinkingBlock(thinking: string) {
  const signature = Buffer.from(`scripted ${thinking.length}`).toString('base64')
  return {
    block: { type: 'thinking', thinking, signature },
    start: { type: 'thinking', thinking: '', signature: '' },
    deltas: [...words(thinking, 'thinking_delta', 'thinking'), { type: 'signature_delta', signature }],
  }
}

function textBlock(text: string) {
  return {
    block: { type: 'text', text },
    start: { type: 'text', text: '' },
    deltas: words(text, 'text_delta', 'text'),
  }
}

function toolBlock({ name, input }: { name: string; input: Record<string, unknown> }) {
  const block = { type: 'tool_use', id: newId('toolu'), name, input }
  const pieces = JSON.stringify(input).match(new RegExp(`.{1,${jsonPiece}}`, 'gs')) ?? []
  return {
    block,
    start: { ...block, input: {} },
    deltas: ['', ...pieces].map((piece) => ({ type: 'input_json_delta', partial_json: piece })),
  }
}

function words(text: string, type: string, field: string) {
  return (text.match(/\S+\s*|\s+/g) ?? []).map((piece) => ({ type, [field]: piece }))
}

function newId(prefix: string): string {
  return `${prefix}_${randomBytes(12).toString('hex')}`
}
