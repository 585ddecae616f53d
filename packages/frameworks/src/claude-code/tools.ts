import type { EventOf } from '@vm0/contract'

type ToolKind = EventOf<'tool.started'>['kind']

const kinds: Record<string, ToolKind> = {
  Bash: 'shell',
  BashOutput: 'shell',
  KillShell: 'shell',
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
  WebFetch: 'fetch',
  Task: 'subagent',
  Agent: 'subagent',
  TodoWrite: 'plan',
  TaskCreate: 'plan',
  TaskUpdate: 'plan',
  ExitPlanMode: 'plan',
}

export function toolKind(name: string): ToolKind {
  return kinds[name] ?? (name.startsWith('mcp__') ? 'mcp' : 'other')
}

/** What a person reads of a call: the command, the file, the pattern. */
export function toolTitle(input: unknown): string {
  if (!input || typeof input !== 'object') return ''
  const fields = input as Record<string, unknown>
  for (const name of [
    'command',
    'file_path',
    'notebook_path',
    'pattern',
    'url',
    'query',
    'description',
    'prompt',
    'path',
  ]) {
    if (typeof fields[name] === 'string') return fields[name].split('\n')[0]!.slice(0, 200)
  }
  return ''
}

export function resultText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part: { type?: string; text?: string }) =>
      part.type === 'text' ? (part.text ?? '') : `[${part.type ?? 'content'}]`,
    )
    .join('\n')
}

/** Claude Code tells a command's status in the text of the result. */
export function exitCodeOf(text: string): number | undefined {
  const match = /^(?:Error: )?Exit code (\d+)/.exec(text)
  return match ? Number(match[1]) : undefined
}
