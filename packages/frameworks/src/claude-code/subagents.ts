import type { EventBody } from '@vm0/contract'
import { boundedText, remember } from './bounded.js'
import { amount, count, optionalShort, record, short, text, type Message } from './fields.js'
import type { ToolCalls } from './tools.js'

const maxText = 64 * 1024
const maxAtWork = 1000

/** Sub-agents, from the call that starts one to its report. Tasks of other kinds are told by their tool calls. */
export class SubAgents {
  /** By task id, the tool call that it belongs to. */
  private readonly atWork = new Map<string, string | undefined>()

  constructor(private readonly calls: ToolCalls) {}

  started(message: Message): EventBody[] {
    const type = short(message.task_type)
    if (type !== 'local_agent' && type !== 'local_workflow') return []
    const toolId = optionalShort(message.tool_use_id)
    const subagentId = short(message.task_id)
    remember(this.atWork, subagentId, toolId, maxAtWork)
    return [
      {
        type: 'subagent.started',
        subagentId,
        toolId,
        kind: short(message.subagent_type) || type,
        prompt: boundedText(text(message.prompt) || text(message.description), maxText),
        title: optionalShort(message.description),
        background: message.is_backgrounded === true,
        ...this.calls.nestingOf(toolId),
      },
    ]
  }

  finished(message: Message): EventBody[] {
    const subagentId = short(message.task_id)
    if (!this.atWork.has(subagentId)) return []
    const toolId = optionalShort(message.tool_use_id) ?? this.atWork.get(subagentId)
    this.atWork.delete(subagentId)
    const used = record(message.usage)
    return [
      {
        type: 'subagent.finished',
        subagentId,
        toolId,
        status: short(message.status) || 'unknown',
        result: boundedText(text(message.summary), maxText),
        usage: {
          totalTokens: count(used.total_tokens),
          toolCalls: count(used.tool_uses),
          durationMs: amount(used.duration_ms),
        },
        ...this.calls.nestingOf(toolId),
      },
    ]
  }
}
