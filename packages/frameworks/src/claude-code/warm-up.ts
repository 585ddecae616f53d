import { randomUUID } from 'node:crypto'
import type { WarmAnswer, WarmRequest, WarmStep, WarmUp } from '../driver.js'
import { userMessage } from './user-message.js'

/** Occurs nowhere else, so that a search finds whatever the warm-up left behind. */
export const warmUpMark = 'vm0-warm-up-turn'

/** What the turn wrote; the folders around it are those that a process makes at its start. */
const cleanUp = 'rm -f "$HOME"/.claude/projects/*/*.jsonl /tmp/claude-0/*/*/tasks/*'

/** The second takes 5 ms of 35 off the first prompt, for 45 of the warm-up; more take off what can't be told from noise. */
const turns = 2

/**
 * Turns with a tool call, so that the paths of a request and of a shell are warm; after each the conversation is taken back
 * to before it: only the last one can be. (`/clear` would do it too, but leaves a note of itself at the head of the next
 * request.)
 */
export class ClaudeWarmUp implements WarmUp {
  private turnId = ''
  private turnsDone = 0
  private answers = 0
  private state: 'turn' | 'take back' | 'clean up' = 'turn'

  start(): WarmStep {
    this.state = 'turn'
    this.turnId = randomUUID()
    return { write: [userMessage(warmUpMark, this.turnId)] }
  }

  line(text: string): WarmStep {
    const message = JSON.parse(text) as ResultMessage & ControlResponse
    if (message.type === 'result' && this.state === 'turn') {
      if (message.is_error) throw new Error(`the warm-up turn failed: ${message.result ?? 'no reason given'}`)
      this.state = 'take back'
      const request = { subtype: 'rewind_conversation', target_message_uuid: this.turnId }
      return { write: [JSON.stringify({ type: 'control_request', request_id: 'vm0-warm-up', request })] }
    }
    if (message.type === 'control_response' && this.state === 'take back') {
      const { subtype, response, error } = message.response
      if (subtype !== 'success' || response?.rewound !== true)
        throw new Error(`the conversation was not taken back: ${error ?? JSON.stringify(response)}`)
      this.turnsDone += 1
      if (this.turnsDone < turns) return this.start()
      this.state = 'clean up'
      return { run: cleanUp }
    }
    return 'wait'
  }

  output(): WarmStep {
    return 'ready'
  }

  answer({ method, path, body }: WarmRequest): WarmAnswer {
    if (method !== 'POST' || !path.startsWith('/v1/messages')) return json({ data: [], has_more: false })
    if (path.includes('count_tokens')) return json({ input_tokens: 1 })
    const { model, stream, messages } = JSON.parse(body) as { model: string; stream?: boolean; messages: unknown[] }
    const afterTool = JSON.stringify(messages.at(-1)).includes('"tool_result"')
    const serial = (this.answers += 1)
    // More than that is an agent that asks in a circle: an answer without a tool ends its turn.
    const isOver = afterTool || serial > 2 * turns
    // Each call has an id of its own: results of one that was there before are left out by the agent.
    const content = isOver
      ? { type: 'text', text: 'ready' }
      : {
          type: 'tool_use',
          id: `toolu_vm0warmup${serial}`,
          name: 'Bash',
          input: { command: 'true', description: 'Warm up' },
        }
    const message = {
      id: `msg_vm0warmup${serial}`,
      type: 'message',
      role: 'assistant',
      model,
      content: [content],
      stop_reason: isOver ? 'end_turn' : 'tool_use',
      stop_sequence: null,
      usage: { input_tokens: 1, output_tokens: 1, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 },
    }
    return stream ? { status: 200, contentType: 'text/event-stream', body: asStream(message, content) } : json(message)
  }
}

interface ResultMessage {
  type?: string
  is_error?: boolean
  result?: string
}
interface ControlResponse {
  response: { subtype: string; error?: string; response?: { rewound?: boolean } }
}

interface Block {
  type: string
  text?: string
  input?: object
}

/** The message as the events of the Messages API's stream. */
function asStream(message: { stop_reason: string; usage: object }, block: Block): string {
  const isText = block.type === 'text'
  const delta = isText
    ? { type: 'text_delta', text: block.text }
    : { type: 'input_json_delta', partial_json: JSON.stringify(block.input) }
  const start = isText ? { ...block, text: '' } : { ...block, input: {} }
  return [
    { type: 'message_start', message: { ...message, content: [], stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: start },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: message.stop_reason, stop_sequence: null }, usage: message.usage },
    { type: 'message_stop' },
  ]
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join('')
}

function json(value: object): WarmAnswer {
  return { status: 200, contentType: 'application/json', body: JSON.stringify(value) }
}
