import type { EventBody, RunSpec, Usage } from '@vm0/contract'

export interface LaunchOptions {
  /** Where the release is mounted inside the sandbox. */
  releaseDir: string
  /** The gateway as seen from inside. */
  gatewayUrl: string
  /** The agent's own session id to go on with. */
  resume: string | null
  spec: Pick<RunSpec, 'model' | 'systemPrompt' | 'tools' | 'env'> & { maxTurns?: number | undefined }
}

export interface Launch {
  args: string[]
  env: Record<string, string>
  cwd: string
}

/** How a prompt's turns ended, as the agent tells it: the one that it opened, and those of what was said meanwhile. */
export interface TurnEnd {
  reason: 'completed' | 'interrupted' | 'error' | 'max_turns'
  text: string
  /** Of these turns alone, sub-agents included. */
  usage: Usage
  costUsd: number
  /** Texts that the agent still holds and would go on to answer: its process must not be used for another prompt. */
  unanswered: number
  /** The conversation that the process was to go on with is not there: nothing was done, another process may begin anew. */
  conversationLost: boolean
  error: {
    code: 'MODEL_UNAUTHORIZED' | 'MODEL_RATE_LIMITED' | 'MODEL_FAILED' | 'AGENT_FAILED'
    message: string
    httpStatus?: number
  } | null
}

export interface Translated {
  events: EventBody[]
  /** Lines to write to the agent's stdin in answer. */
  replies: string[]
  agentSessionId?: string
  turnEnd?: TurnEnd
}

/**
 * One agent process's protocol, as pure state: lines in, events out. Does no I/O.
 * A line that it doesn't know becomes `raw`; nothing throws.
 */
export interface AgentProtocol {
  /** Lines that open a turn. */
  prompt(text: string): string[]
  /** Text for the agent in the middle of a turn. `turnEnd` comes only when it was answered too, or dropped. */
  input(text: string): string[]
  /** Lines of `input` that could not be written: they are waited for no longer. */
  withdraw(lines: readonly string[]): void
  /** Lines that end the turn, with what waits for the next one. */
  interrupt(): string[]
  translate(line: string, timeMs: number): Translated
}

export interface FrameworkDriver {
  readonly name: string
  launch(options: LaunchOptions): Launch
  /** `resumed`: the process goes on with an old conversation, whose cost some agents count in their totals. */
  open(state: { resumed: boolean }): AgentProtocol
}

export interface AgentRelease {
  framework: string
  version: string
  directory: string
}

export interface ReleaseStore {
  /** Installs an exact version from the npm registry, verified by its integrity; installed ones return at once. */
  install(framework: string, version: string, onProgress?: (message: string) => void): Promise<AgentRelease>
  list(framework: string): Promise<AgentRelease[]>
  /** The newest installed, or AGENT_RELEASE_MISSING. */
  newest(framework: string): Promise<AgentRelease>
}
