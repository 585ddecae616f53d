import { noUsage, type EventBody, type Usage } from '@vm0/contract'
import type { AgentProtocol, Translated, TurnEnd } from '../driver.js'
import { userMessage } from './user-message.js'
import { exitCodeOf, resultText, toolKind, toolTitle } from './tools.js'

type Json = Record<string, any> // the CLI's messages: checked where a field is used

const maxToolOutput = 64 * 1024

/** Claude Code's stream-json, as one process speaks it. */
export class ClaudeProtocol implements AgentProtocol {
  private readonly tools = new Map<string, { name: string; startedMs: number }>()
  private readonly messageIds = new Map<string, string>()
  private totalCostUsd: number
  private interrupted = false
  /** From `/clear` to its result: nothing of it belongs to a turn. */
  private reloading = false
  private requests = 0

  /** What the conversation cost before this process; undefined once it is known whether the process counts it. */
  private earlierCostUsd: number | undefined

  constructor({ resumed, previousCostUsd }: { resumed: boolean; previousCostUsd: number }) {
    this.totalCostUsd = 0
    this.earlierCostUsd = resumed ? previousCostUsd : undefined
  }

  prompt(text: string): string[] {
    this.interrupted = false
    return this.input(text)
  }

  input(text: string): string[] {
    return [userMessage(text)]
  }

  reload(): string[] {
    this.reloading = true
    return [userMessage('/clear')]
  }

  interrupt(): string[] {
    this.interrupted = true
    this.requests += 1
    return [
      JSON.stringify({
        type: 'control_request',
        request_id: `vm0-${this.requests}`,
        request: { subtype: 'interrupt' },
      }),
    ]
  }

  translate(line: string, timeMs: number): Translated {
    let message: Json
    try {
      message = JSON.parse(line) as Json
    } catch {
      return events({ type: 'raw', source: 'claude-code', data: line.slice(0, maxToolOutput) })
    }
    try {
      return this.handle(message, timeMs) ?? events({ type: 'raw', source: 'claude-code', data: message })
    } catch {
      // A message of a known type with unknown contents.
      return events({ type: 'raw', source: 'claude-code', data: message })
    }
  }

  private handle(message: Json, timeMs: number): Translated | undefined {
    if (this.reloading) {
      if (message.type === 'result') this.reloading = false
      return events()
    }
    const nested = typeof message.parent_tool_use_id === 'string' ? { parentToolId: message.parent_tool_use_id } : {}
    switch (message.type) {
      case 'system':
        return this.system(message)
      case 'stream_event':
        return this.streamed(message.event as Json, nested)
      case 'assistant':
        return events(...this.assistant(message.message as Json, nested, timeMs))
      case 'user':
        return events(...this.toolResults(message.message as Json, nested, timeMs))
      case 'result':
        return this.result(message)
      case 'control_request':
        return this.controlRequest(message)
      case 'rate_limit_event': {
        const info = message.rate_limit_info as Json
        return events({
          type: 'rate_limit',
          status: String(info.status),
          ...(info.resetsAt ? { resetsAt: new Date(Number(info.resetsAt) * 1000).toISOString() } : {}),
        })
      }
      case 'control_response':
      case 'transcript_mirror':
      case 'keep_alive':
        return events()
      default:
        return undefined
    }
  }

  private system(message: Json): Translated | undefined {
    switch (message.subtype) {
      case 'init':
        return {
          ...events({
            type: 'run.started',
            agentSessionId: message.session_id,
            model: message.model,
            cwd: message.cwd,
            tools: message.tools,
            agentVersion: message.claude_code_version ?? '',
          }),
          agentSessionId: message.session_id,
        }
      case 'status':
        if (message.status === 'compacting') return events({ type: 'compaction', phase: 'started' })
        return message.status === null || message.status === 'requesting'
          ? events({ type: 'status', state: message.status ?? 'idle' })
          : undefined
      case 'compact_boundary':
        return events({
          type: 'compaction',
          phase: 'finished',
          ...(message.compact_metadata?.pre_tokens ? { preTokens: message.compact_metadata.pre_tokens } : {}),
        })
      case 'api_retry':
        return events({
          type: 'status',
          state: 'retrying',
          attempt: message.attempt,
          ...(message.retry_delay_ms === undefined ? {} : { retryInMs: message.retry_delay_ms }),
          ...(message.error_status ? { httpStatus: message.error_status } : {}),
        })
      case 'task_started':
        return events({
          type: 'subagent.started',
          subagentId: message.task_id,
          kind: message.task_type ?? 'task',
          prompt: message.description ?? '',
          ...toolId(message),
        })
      case 'task_notification':
        return events({
          type: 'subagent.finished',
          subagentId: message.task_id,
          status: message.status,
          ...toolId(message),
        })
      default:
        return undefined
    }
  }

  private streamed(event: Json, nested: { parentToolId?: string }): Translated | undefined {
    const scope = nested.parentToolId ?? ''
    switch (event.type) {
      case 'message_start':
        this.messageIds.set(scope, event.message.id)
        return events()
      case 'content_block_delta': {
        const messageId = this.messageIds.get(scope) ?? ''
        if (event.delta.type === 'text_delta')
          return events({ type: 'message.delta', messageId, text: event.delta.text, ...nested })
        if (event.delta.type === 'thinking_delta')
          return events({ type: 'thinking.delta', messageId, text: event.delta.thinking, ...nested })
        return events()
      }
      case 'content_block_start':
      case 'content_block_stop':
      case 'message_delta':
      case 'message_stop':
      case 'ping':
        return events()
      default:
        return undefined
    }
  }

  private assistant(message: Json, nested: { parentToolId?: string }, timeMs: number): EventBody[] {
    const messageId = String(message.id)
    return (message.content as Json[]).flatMap((block): EventBody[] => {
      switch (block.type) {
        case 'text':
          return [{ type: 'message', messageId, text: block.text, ...nested }]
        case 'thinking':
          return [{ type: 'thinking', messageId, text: block.thinking ?? '', redacted: false, ...nested }]
        case 'redacted_thinking':
          return [{ type: 'thinking', messageId, text: '', redacted: true, ...nested }]
        case 'tool_use':
        case 'server_tool_use': {
          this.tools.set(block.id, { name: block.name, startedMs: timeMs })
          const started: EventBody = {
            type: 'tool.started',
            toolId: block.id,
            name: block.name,
            kind: toolKind(block.name),
            input: block.input,
            title: toolTitle(block.input),
            ...nested,
          }
          if (block.name !== 'TodoWrite' || !Array.isArray(block.input?.todos)) return [started]
          return [
            started,
            {
              type: 'plan',
              items: block.input.todos.map((todo: Json) => ({
                text: String(todo.content),
                status: String(todo.status),
              })),
            },
          ]
        }
        default:
          return [{ type: 'raw', source: 'claude-code', data: block }]
      }
    })
  }

  private toolResults(message: Json, nested: { parentToolId?: string }, timeMs: number): EventBody[] {
    if (!Array.isArray(message.content)) return []
    return (message.content as Json[])
      .filter((block) => block.type === 'tool_result')
      .map((block): EventBody => {
        const tool = this.tools.get(block.tool_use_id)
        this.tools.delete(block.tool_use_id)
        const text = resultText(block.content)
        const ok = block.is_error !== true
        const exitCode = tool?.name === 'Bash' ? (ok ? 0 : exitCodeOf(text)) : undefined
        return {
          type: 'tool.finished',
          toolId: block.tool_use_id,
          name: tool?.name ?? 'unknown',
          ok,
          ...(exitCode === undefined ? {} : { exitCode }),
          ...(ok ? {} : { error: text.slice(0, 2000) }),
          output: text.slice(0, maxToolOutput),
          outputTruncated: text.length > maxToolOutput,
          durationMs: tool ? Math.max(0, timeMs - tool.startedMs) : 0,
          ...nested,
        }
      })
  }

  private controlRequest(message: Json): Translated | undefined {
    if (message.request?.subtype !== 'can_use_tool') return undefined
    const answer = {
      type: 'control_response',
      response: {
        subtype: 'success',
        request_id: message.request_id,
        response: { behavior: 'allow', updatedInput: message.request.input },
      },
    }
    return {
      events: [
        {
          type: 'permission.requested',
          requestId: message.request_id,
          name: message.request.tool_name,
          input: message.request.input,
          ...toolId(message.request),
        },
      ],
      replies: [JSON.stringify(answer)],
    }
  }

  private result(message: Json): Translated {
    const total = Number(message.total_cost_usd ?? 0)
    if (this.earlierCostUsd !== undefined) {
      // A process that ended in order has left its totals to its successor; one that was killed has not.
      const counted = Object.values((message.modelUsage ?? {}) as Record<string, Json>).reduce(
        (sum, used) => sum + Number(used.outputTokens ?? 0),
        0,
      )
      if (total >= this.earlierCostUsd && counted > Number(message.usage?.output_tokens ?? 0))
        this.totalCostUsd = this.earlierCostUsd
      this.earlierCostUsd = undefined
    }
    const costUsd = Math.max(0, total - this.totalCostUsd)
    this.totalCostUsd = total
    const usage = toUsage(message.usage as Json | undefined)
    const reason = this.interrupted
      ? 'interrupted'
      : message.subtype === 'error_max_turns'
        ? 'max_turns'
        : message.is_error || message.subtype !== 'success'
          ? 'error'
          : 'completed'
    const text = typeof message.result === 'string' ? message.result : ''
    const turnEnd: TurnEnd = {
      reason,
      text,
      usage,
      costUsd,
      error: reason === 'completed' || reason === 'interrupted' ? null : errorOf(message, text),
    }
    const finished: EventBody[] = Object.entries((message.modelUsage ?? {}) as Record<string, Json>).map(
      ([model, used]) => ({ type: 'usage', scope: 'turn', model, usage: camelUsage(used) }),
    )
    finished.push({
      type: 'agent.finished',
      reason,
      text,
      usage,
      costUsd,
      durationMs: Number(message.duration_ms ?? 0),
    })
    return {
      events: finished,
      replies: [],
      turnEnd,
      ...(message.session_id ? { agentSessionId: message.session_id } : {}),
    }
  }
}

function errorOf(message: Json, text: string): TurnEnd['error'] {
  const status = typeof message.api_error_status === 'number' ? message.api_error_status : undefined
  const said = text || (Array.isArray(message.errors) ? message.errors.join('; ') : '') || String(message.subtype)
  const detail = {
    message: `the agent ended with an error: ${said.slice(0, 2000)}`,
    ...(status ? { httpStatus: status } : {}),
  }
  if (message.subtype !== 'success') return { code: 'AGENT_FAILED', ...detail }
  if (status === 401 || status === 403) return { code: 'MODEL_UNAUTHORIZED', ...detail }
  return { code: status === 429 ? 'MODEL_RATE_LIMITED' : 'MODEL_FAILED', ...detail }
}

function toUsage(usage: Json | undefined): Usage {
  if (!usage) return noUsage
  return {
    inputTokens: usage.input_tokens ?? 0,
    outputTokens: usage.output_tokens ?? 0,
    cacheReadTokens: usage.cache_read_input_tokens ?? 0,
    cacheWriteTokens: usage.cache_creation_input_tokens ?? 0,
  }
}

function camelUsage(used: Json): Usage {
  return {
    inputTokens: used.inputTokens ?? 0,
    outputTokens: used.outputTokens ?? 0,
    cacheReadTokens: used.cacheReadInputTokens ?? 0,
    cacheWriteTokens: used.cacheCreationInputTokens ?? 0,
  }
}

function toolId(message: Json): { toolId?: string } {
  return typeof message.tool_use_id === 'string' ? { toolId: message.tool_use_id } : {}
}

function events(...list: EventBody[]): Translated {
  return { events: list, replies: [] }
}
