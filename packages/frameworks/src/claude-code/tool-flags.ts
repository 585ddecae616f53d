/**
 * Tools that make no sense in a run: it has one prompt and one end, and nobody sits before it. What works in the background
 * or later would open turns after the run's end; what asks a person would wait for ever.
 */
const neverTools = [
  'AskUserQuestion',
  'CronCreate',
  'CronDelete',
  'CronList',
  'EnterPlanMode',
  'ExitPlanMode',
  'Monitor',
  'ScheduleWakeup',
  'Workflow',
]

/**
 * Flags that leave the agent only the tools in `allow` (all without it) and none of `deny`. An entry is a tool's name, or a
 * name with a pattern such as `Bash(git *)`, or that of an MCP tool or server.
 *
 * In the permissive mode of a sandbox the agent's own allow-list restricts nothing, so the set of tools itself is cut down.
 * That knows whole built-in tools only. Where `allow` says more, the agent has to ask its rules for each call: what they
 * don't allow is refused (commands that only read stay free, as Claude Code has it).
 */
export function toolFlags({
  allow,
  deny = [],
}: { allow?: readonly string[]; deny?: readonly string[] } = {}): string[] {
  const denied = ['--disallowedTools', [...neverTools, ...deny].join(',')]
  if (!allow) return ['--permission-mode', 'bypassPermissions', ...denied]
  const builtIn = [...new Set(allow.filter((entry) => !isMcp(entry)).map(toolName))]
  const needsRules = allow.some((entry) => isMcp(entry) || toolName(entry) !== entry)
  return [
    '--tools',
    builtIn.join(','),
    ...(allow.some(isMcp) ? [] : ['--strict-mcp-config']),
    ...(needsRules
      ? ['--permission-mode', 'dontAsk', '--allowedTools', allow.join(',')]
      : ['--permission-mode', 'bypassPermissions']),
    ...denied,
  ]
}

function isMcp(entry: string): boolean {
  return entry.startsWith('mcp__')
}

function toolName(entry: string): string {
  return entry.replace(/\(.*$/s, '')
}
