import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { LaunchSpec } from '../driver.js'

/** Variables that the CLI or its runtime read at their start: set later, they would come too late. */
const readAtStart =
  /^(HOME|PATH|SHELL|USER|LOGNAME|TMPDIR|TZ|LANG|IS_SANDBOX|DEBUG)$|^(CLAUDE|ANTHROPIC|AWS|GOOGLE|VERTEX|OTEL|DISABLE|NODE|BUN|LD|LC|XDG|GIT|SSL|MCP|BASH|MAX)_|_proxy$/i

/**
 * Runs with the same system prompt and set of tools share a kind of spare. A turn limit counts from the process's start, a
 * question to a person needs one, a form of the output makes another last turn, and a server's definition may hold a
 * secret: for those none is kept.
 */
export function spareFor({ systemPrompt, tools, ...rest }: LaunchSpec): LaunchSpec {
  const { maxTurns, permissions, output, mcpServers } = rest
  if (maxTurns !== undefined || permissions === 'ask' || output !== undefined || mcpServers !== undefined) return {}
  return { ...(systemPrompt === undefined ? {} : { systemPrompt }), ...(tools === undefined ? {} : { tools }) }
}

/**
 * Environment and model bind late, by `apply_flag_settings`; system prompt, tools, permissions, the
 * form of the output, MCP servers and turn limit are flags of the start.
 * A variable can be added or changed but not taken back.
 */
export function rebind(from: LaunchSpec, to: LaunchSpec): string[] | undefined {
  for (const flag of ['systemPrompt', 'tools', 'maxTurns', 'permissions', 'output', 'mcpServers'] as const) {
    if (!isDeepStrictEqual(from[flag], to[flag])) return undefined
  }
  const settings: { env?: Record<string, string>; model?: string } = {}
  if (from.model !== to.model) {
    if (to.model === undefined) return undefined
    settings.model = to.model
  }
  const before = from.env ?? {}
  const after = to.env ?? {}
  if (Object.keys(before).some((name) => !Object.hasOwn(after, name))) return undefined
  const changed = Object.entries(after).filter(([name, value]) => before[name] !== value)
  if (changed.some(([name]) => readAtStart.test(name))) return undefined
  // The settings are replaced as a whole: what was bound before is sent again.
  if (changed.length > 0) settings.env = after
  if (Object.keys(settings).length === 0) return []
  const request = { subtype: 'apply_flag_settings', settings }
  return [JSON.stringify({ type: 'control_request', request_id: `vm0-bind-${randomUUID()}`, request })]
}
