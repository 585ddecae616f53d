import type { LaunchSpec } from '../driver.js'

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
  tools,
  permissions,
  mcpServers,
}: Pick<LaunchSpec, 'tools' | 'permissions' | 'mcpServers'>): string[] {
  const { allow, deny = [] } = tools ?? {}
  const denied = ['--disallowedTools', [...neverTools, ...deny].join(',')]
  const asks = permissions === 'ask'
  const mode = ['--permission-mode', asks ? 'manual' : 'bypassPermissions']
  if (!allow) return [...mode, ...denied]
  const builtIn = [...new Set(allow.filter((entry) => !isMcp(entry)).map(toolName))]
  const needsRules = allow.some((entry) => isMcp(entry) || toolName(entry) !== entry)
  return [
    '--tools',
    builtIn.join(','),
    ...(allow.some(isMcp) || mcpServers ? [] : ['--strict-mcp-config']),
    // Where a person is asked, that person is the rule.
    ...(needsRules && !asks ? ['--permission-mode', 'dontAsk', '--allowedTools', allow.join(',')] : mode),
    ...denied,
  ]
}

function isMcp(entry: string): boolean {
  return entry.startsWith('mcp__')
}

function toolName(entry: string): string {
  return entry.replace(/\(.*$/s, '')
}
