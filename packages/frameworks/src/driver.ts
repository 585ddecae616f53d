import type { Answer, EventBody, RunSpec, Usage } from '@vm0/contract'

/** What of a run decides how its agent process is started or bound. */
export type LaunchSpec = Pick<
  RunSpec,
  'model' | 'systemPrompt' | 'tools' | 'env' | 'permissions' | 'output' | 'mcpServers'
> & { maxTurns?: number | undefined }

export interface LaunchOptions {
  /** Where the release is mounted inside the sandbox. */
  releaseDir: string
  /** The gateway as seen from inside. */
  gatewayUrl: string
  /** The agent's own session id to go on with. */
  resume: string | null
  spec: LaunchSpec
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
  /** The result in the form that was asked for, as the agent gives it; undefined without one. */
  output?: unknown
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
  /** Tool calls whose results are in the agent's own record of the conversation, on its disk, from now on. */
  recorded?: string[]
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
  /** What a person decided on a question that the agent waits with; undefined where it asks no such. */
  answer(answer: Answer): Pick<Translated, 'events' | 'replies'> | undefined
  /** Lines that end the turn, with what waits for the next one. */
  interrupt(): string[]
  /**
   * Lines that have an agent that has no conversation yet read its instruction files (CLAUDE.md and the like) again:
   * files came after it had started. What it prints about it is told as no event.
   */
  reload(): string[]
  translate(line: string, timeMs: number): Translated
  /** The process has ended in the middle of a turn: what is still to be told of it. */
  gone(): EventBody[]
}

/** A model request of an agent that warms up, and the answer that it gets from the platform itself. */
export interface WarmRequest {
  method: string
  path: string
  body: string
}
export interface WarmAnswer {
  status: number
  contentType: string
  body: string
}

/** What a warm-up wants done next: lines for the agent's stdin, a shell script in the sandbox, or nothing any more. */
export type WarmStep = { write: string[] } | { run: string } | 'wait' | 'ready'

/**
 * How an agent process is made ready before anybody knows what for: it goes once through what a turn needs, with answers
 * of the platform's own (no tokens, no upstream), forgets it, and waits for its first prompt. State of one process, used
 * once. Its methods throw when the warm-up has failed.
 */
export interface WarmUp {
  /** Answers the agent's model requests meanwhile. */
  answer(request: WarmRequest): WarmAnswer
  start(): WarmStep
  /** Takes the agent's lines of stdout one by one. */
  line(text: string): WarmStep
  /** Called when the script that `run` asked for has ended well. */
  output(): WarmStep
}

export interface FrameworkDriver {
  readonly name: string
  /** Where the agent keeps its own state in the sandbox: what it changes there is no work of the session's. */
  readonly statePaths: readonly string[]
  /** The tool calls whose results the body of a model request ends with; none where it ends with something else, or is none. */
  toolResults(body: string): string[]
  launch(options: LaunchOptions): Launch
  /** Absent where a started process can't be kept for a session that comes later. */
  warmUp?(): WarmUp
  /**
   * What of `spec` a process is started with that is kept for runs like this one; `rebind` has the rest. Nothing where any
   * process does. Holds no secret of a run: what can hold one is left out, and so such runs start a process of their own.
   */
  spareFor?(spec: LaunchSpec): LaunchSpec
  /**
   * Lines that bind a live process that runs with `from` to `to`; none where both are the same; undefined where only a
   * new process will do.
   */
  rebind(from: LaunchSpec, to: LaunchSpec): string[] | undefined
  /**
   * `resumed`: the process goes on with an old conversation, whose cost some agents count in their totals. `asks`: a person
   * answers what the agent asks. `newId` makes the ids of what is sent; with the same ids, calls and lines a protocol comes
   * to the same state and says the same.
   */
  open(state: { resumed: boolean; asks?: boolean; newId?: () => string }): AgentProtocol
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
  /** Every installed release. */
  all(): Promise<AgentRelease[]>
  /** The newest installed, or AGENT_RELEASE_MISSING. */
  newest(framework: string): Promise<AgentRelease>
}
