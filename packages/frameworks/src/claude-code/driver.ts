import type { FrameworkDriver, LaunchOptions } from '../driver.js'
import { rebind } from './binding.js'
import { ClaudeProtocol } from './protocol.js'
import { ClaudeWarmUp } from './warm-up.js'

/** Claude Code as a long-lived process that speaks stream-json. */
export const claudeCode: FrameworkDriver = {
  name: 'claude-code',
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
      '--forward-subagent-text',
      '--allow-dangerously-skip-permissions',
      '--permission-mode',
      'bypassPermissions',
      '--permission-prompt-tool',
      'stdio',
      ...(resume ? ['--resume', resume] : []),
      ...(spec.model ? ['--model', spec.model] : []),
      ...(spec.maxTurns ? ['--max-turns', String(spec.maxTurns)] : []),
      ...(typeof spec.systemPrompt === 'string'
        ? ['--system-prompt', spec.systemPrompt]
        : spec.systemPrompt
          ? ['--append-system-prompt', spec.systemPrompt.append]
          : []),
      ...(spec.tools?.allow?.length ? ['--allowedTools', spec.tools.allow.join(',')] : []),
      ...(spec.tools?.deny?.length ? ['--disallowedTools', spec.tools.deny.join(',')] : []),
    ],
    env: {
      IS_SANDBOX: '1',
      DISABLE_AUTOUPDATER: '1',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
      ...spec.env,
      // The platform's own come last: the gateway puts the real key in.
      ANTHROPIC_BASE_URL: gatewayUrl,
      ANTHROPIC_API_KEY: 'placeholder',
    },
    cwd: '/workspace',
  }),
  conversationTest: (agentSessionId) => `ls "$HOME"/.claude/projects/*/${agentSessionId}.jsonl`,
  warmUp: () => new ClaudeWarmUp(),
  rebind,
  open: (state) => new ClaudeProtocol(state),
}
