import type { EventBody } from '@vm0/contract'
import { boundedText } from './bounded.js'
import { amount, count, list, nesting, optionalCount, optionalText, record, text, type Message } from './fields.js'

export const maxNotice = 4000

/** Messages that say nothing which another one doesn't say as well, or better. */
const silent = new Set([
  'background_tasks_changed',
  'commands_changed',
  'hook_progress',
  'session_state_changed',
  'session_title_changed',
  'stop_hook_summary',
  'task_progress',
  'task_updated',
  'thinking_tokens',
  'turn_duration',
])

/** Messages of type `system` that need no memory of others; undefined for one that is not known. */
export function systemEvents(message: Message): EventBody[] | undefined {
  const subtype = text(message.subtype)
  if (silent.has(subtype)) return []
  switch (subtype) {
    case 'status':
      return statusEvents(message)
    case 'compact_boundary': {
      const data = record(message.compact_metadata)
      return [
        {
          type: 'compaction',
          phase: 'finished',
          trigger: optionalText(data.trigger),
          preTokens: optionalCount(data.pre_tokens),
          postTokens: optionalCount(data.post_tokens),
        },
      ]
    }
    case 'api_retry':
      return [
        {
          type: 'status',
          state: 'retrying',
          attempt: count(message.attempt),
          maxAttempts: optionalCount(message.max_retries),
          retryInMs: amount(message.retry_delay_ms),
          httpStatus: optionalCount(message.error_status),
          error: optionalText(message.error),
        },
      ]
    case 'hook_started':
      return [{ type: 'hook', phase: 'started', ...hook(message) }]
    case 'hook_response':
      return [
        {
          type: 'hook',
          phase: 'finished',
          ...hook(message),
          outcome: optionalText(message.outcome),
          exitCode: optionalCount(message.exit_code),
          output: boundedText(text(message.output), maxNotice),
        },
      ]
    case 'permission_denied':
      return [
        {
          type: 'permission.resolved',
          toolId: optionalText(message.tool_use_id),
          name: text(message.tool_name),
          decision: 'deny',
          by: 'agent',
          message: boundedText(text(message.message), maxNotice),
        },
      ]
    case 'session_writes_lost':
      return [
        {
          type: 'error',
          code: 'SANDBOX_DISK_FULL',
          message: `the agent could not write its ${list(message.lost).map(text).join(', ') || 'files'} (${text(message.error_code)})`,
          retryable: false,
        },
      ]
    case 'informational':
      return [notice(message, message.level === 'warning' ? 'warning' : 'info')]
    case 'notification':
    case 'local_command_output':
      return [notice(message, 'info')]
    case 'model_fallback':
    case 'model_consent_fallback':
    case 'model_refusal_fallback':
    case 'model_refusal_no_fallback':
    case 'mirror_error':
      return [notice(message, 'warning')]
    default:
      return undefined
  }
}

/** What went wrong while the agent read its settings, as system/init tells it. */
export function initNotices(message: Message): EventBody[] {
  const servers = list(message.mcp_server_errors).map(record)
  const plugins = list(message.plugin_errors).map(record)
  return [
    ...servers.map((each) => `MCP server ${text(each.name)}: ${text(each.message)}`),
    ...plugins.map((each) => `plugin ${text(each.plugin)}: ${text(each.message)}`),
  ].map((words) => ({ type: 'notice', level: 'warning', text: boundedText(words, maxNotice) }))
}

export function rateLimitEvent(message: Message): EventBody {
  const info = record(message.rate_limit_info)
  const resetsAt = new Date(amount(info.resetsAt) * 1000)
  return {
    type: 'rate_limit',
    status: text(info.status) || 'unknown',
    resetsAt: info.resetsAt && Number.isFinite(resetsAt.getTime()) ? resetsAt.toISOString() : undefined,
    limit: optionalText(info.rateLimitType),
    used: info.utilization === undefined ? undefined : amount(info.utilization),
  }
}

function statusEvents(message: Message): EventBody[] {
  if (message.compact_result === 'failed') {
    const error = boundedText(text(message.compact_error) || 'unknown', maxNotice)
    return [{ type: 'compaction', phase: 'failed', error }]
  }
  if (message.status === 'compacting') return [{ type: 'compaction', phase: 'started' }]
  return message.status === 'requesting' ? [{ type: 'status', state: 'requesting' }] : []
}

function notice(message: Message, level: 'info' | 'warning'): EventBody {
  const words = text(message.content) || text(message.text) || text(message.error)
  return { type: 'notice', level, text: boundedText(words, maxNotice), ...nesting(message) }
}

function hook(message: Message) {
  return { hookId: text(message.hook_id), name: text(message.hook_name), event: text(message.hook_event) }
}
