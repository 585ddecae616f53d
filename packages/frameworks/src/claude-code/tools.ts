import type { EventBody } from '@vm0/contract'
import { bounded, boundedText, remember } from './bounded.js'
import { list, record, short, text, type Message, type Nested } from './fields.js'

type Event<Type extends EventBody['type']> = Extract<EventBody, { type: Type }>
type ToolKind = Event<'tool.started'>['kind']

const kinds: Record<string, ToolKind> = {
  Bash: 'shell',
  BashOutput: 'shell',
  KillShell: 'shell',
  Monitor: 'shell',
  Read: 'read',
  NotebookRead: 'read',
  Write: 'edit',
  Edit: 'edit',
  MultiEdit: 'edit',
  NotebookEdit: 'edit',
  Glob: 'search',
  Grep: 'search',
  LS: 'search',
  WebSearch: 'fetch',
  web_search: 'fetch',
  WebFetch: 'fetch',
  web_fetch: 'fetch',
  Task: 'subagent',
  Agent: 'subagent',
  SendMessage: 'subagent',
  TodoWrite: 'plan',
  TaskCreate: 'plan',
  TaskGet: 'plan',
  TaskList: 'plan',
  TaskUpdate: 'plan',
  EnterPlanMode: 'plan',
  ExitPlanMode: 'plan',
}
const titleFields = [
  'command',
  'file_path',
  'notebook_path',
  'pattern',
  'url',
  'query',
  'subject',
  'description',
  'prompt',
  'path',
  'skill',
]

/** Characters of a result, of a call's arguments, and of an error that an event carries; the rest is in the conversation. */
const maxOutput = 64 * 1024
const maxInput = 256 * 1024
const maxError = 2000
/** What is remembered of calls at work. */
const maxRemembered = 8 * 1024
const maxOpenCalls = 1000

export interface ToolCall extends Nested {
  name: string
  input: Message
  startedMs: number
}

/** The tool calls that are at work, so that an end can be told with its name and duration. */
export class ToolCalls {
  private readonly open = new Map<string, ToolCall>()

  start(block: Message, nested: Nested, timeMs: number): EventBody {
    const toolId = short(block.id)
    const name = short(block.name)
    const input = bounded(block.input ?? {}, maxInput).value
    const remembered = record(bounded(block.input, maxRemembered).value)
    remember(this.open, toolId, { name, input: remembered, startedMs: timeMs, ...nested }, maxOpenCalls)
    return { type: 'tool.started', toolId, name, kind: toolKind(name), input, title: toolTitle(input), ...nested }
  }

  /** The call that a sub-agent belongs to tells where that one is nested. */
  nestingOf(toolId: string | undefined): Nested {
    const parent = toolId === undefined ? undefined : this.open.get(toolId)?.parentToolId
    return parent === undefined ? {} : { parentToolId: parent }
  }

  finish(block: Message, nested: Nested, timeMs: number): { event: Event<'tool.finished'>; call?: ToolCall } {
    const toolId = short(block.tool_use_id)
    const call = this.open.get(toolId)
    this.open.delete(toolId)
    const output = resultText(block.content)
    const kept = boundedText(output, maxOutput)
    const ok = block.is_error !== true
    const exitCode = call?.name === 'Bash' ? (ok ? 0 : exitCodeOf(output)) : undefined
    const event = {
      type: 'tool.finished' as const,
      toolId,
      name: call?.name ?? 'unknown',
      ok,
      ...(exitCode === undefined ? {} : { exitCode }),
      ...(ok ? {} : { error: boundedText(output, maxError) }),
      output: kept,
      outputTruncated: kept !== output,
      durationMs: call ? Math.max(0, timeMs - call.startedMs) : 0,
      ...nested,
    }
    return { event, ...(call ? { call } : {}) }
  }
}

function toolKind(name: string): ToolKind {
  return (Object.hasOwn(kinds, name) ? kinds[name] : undefined) ?? (name.startsWith('mcp__') ? 'mcp' : 'other')
}

/** What a person reads of a call: the command, the file, the pattern. */
function toolTitle(input: unknown): string {
  const fields = record(input)
  for (const name of titleFields) {
    const title = text(fields[name]).trim()
    if (title) return (title.split('\n')[0] as string).slice(0, 200)
  }
  return ''
}

function resultText(content: unknown): string {
  if (typeof content === 'string') return content
  return list(content)
    .map((item) => {
      const part = record(item)
      return part.type === 'text' ? text(part.text) : `[${text(part.type) || 'content'}]`
    })
    .join('\n')
}

/** Claude Code tells a command's status in the text of the result. */
function exitCodeOf(output: string): number | undefined {
  const match = /^(?:Error: )?Exit code (\d{1,6})\b/.exec(output)
  return match ? Number(match[1]) : undefined
}
