import type { FrameworkDriver, LaunchOptions } from '../driver.js'
import { rebind, spareFor } from './binding.js'
import { ClaudeProtocol } from './protocol.js'
import { toolResults } from './tool-results.js'
import { toolFlags } from './tool-flags.js'
import { ClaudeWarmUp } from './warm-up.js'

/** Claude Code as a long-lived process that speaks stream-json. */
export const claudeCode: FrameworkDriver = {
  name: 'claude-code',
  statePaths: ['/root/.claude', '/root/.claude.json', '/tmp/claude-0', '/tmp/cc-socks'],
  toolResults,
  launch: ({ releaseDir, gatewayUrl, resume, spec }: LaunchOptions) => ({
    args: [
      `${releaseDir}/claude`,
      '-p',
      '--input-format',
      'stream-json',
      '--output-format',
      'stream-json',
      '--verbose',
      '--include-partial-messages',
      '--include-hook-events',
      '--forward-subagent-text',
      // Tells what has been written to the transcript, right after it was.
      '--session-mirror',
      '--allow-dangerously-skip-permissions',
      '--permission-prompt-tool',
      'stdio',
      // Otherwise the conversation's first system prompt stays, whatever a later run asks for.
      '--system-prompt-snapshot',
      'off',
      ...toolFlags(spec),
      ...(spec.output ? ['--json-schema', JSON.stringify(spec.output)] : []),
      ...(spec.mcpServers ? ['--mcp-config', JSON.stringify({ mcpServers: spec.mcpServers })] : []),
      ...(resume ? ['--resume', resume] : []),
      ...(spec.model ? ['--model', spec.model] : []),
      ...(spec.maxTurns ? ['--max-turns', String(spec.maxTurns)] : []),
      ...systemPromptFlags(spec.systemPrompt),
    ],
    env: {
      IS_SANDBOX: '1',
      DISABLE_AUTOUPDATER: '1',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      // A run ends with its last turn: nothing may open another one later.
      CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
      // The tools of the run's own servers are on offer from the first request on.
      ...(spec.mcpServers ? { MCP_CONNECTION_NONBLOCKING: '0', ENABLE_TOOL_SEARCH: 'false' } : {}),
      ...spec.env,
      // The platform's own come last: the gateway puts the real key in.
      ANTHROPIC_BASE_URL: gatewayUrl,
      ANTHROPIC_API_KEY: 'placeholder',
    },
    cwd: '/workspace',
  }),
  warmUp: () => new ClaudeWarmUp(),
  spareFor,
  rebind,
  open: (state) => new ClaudeProtocol(state),
}

function systemPromptFlags(prompt: LaunchOptions['spec']['systemPrompt']): string[] {
  if (prompt === undefined) return []
  return typeof prompt === 'string' ? ['--system-prompt', prompt] : ['--append-system-prompt', prompt.append]
}
