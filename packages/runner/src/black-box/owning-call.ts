export interface OpenCall {
  toolId: string
  /** What a shell was asked to run; undefined of a call that runs no command. */
  command: string | undefined
  startedAtMs: number
  endedAtMs?: number | undefined
}

export interface StartedProcess {
  /** Its command, and those of what had started it, the innermost first. */
  commands: readonly string[]
  startedAtMs: number
}

/** The stamps of an agent's output and of the kernel come from two clocks. */
const slackMs = 100
/** How much of a command is compared: arguments are kept in part. */
const comparedChars = 120

/**
 * The tool call that started a process: the one whose command the shell that began it was given. Without such a one it is the
 * only call at work then, if there is only one.
 */
export function owningCall(process: StartedProcess, calls: readonly OpenCall[]): OpenCall | undefined {
  const { startedAtMs } = process
  const atWork = calls.filter(
    (call) => call.startedAtMs - slackMs <= startedAtMs && startedAtMs <= (call.endedAtMs ?? Infinity) + slackMs,
  )
  const shells = atWork.filter(({ command }) => command !== undefined)
  const named = shells.filter((call) => process.commands.some((command) => runsCommandOf(command, call)))
  if (named.length > 0) return named.at(-1)
  if (shells.length > 0) return shells.length === 1 ? shells[0] : undefined
  return atWork.length === 1 ? atWork[0] : undefined
}

/** Whether a shell was started with this call's command. */
export function runsCommandOf(shell: string, { command }: OpenCall): boolean {
  return command !== undefined && plain(shell, Infinity).includes(plain(command))
}

/** Shells quote what they hand on, and break lines otherwise. */
function plain(command: string, chars = comparedChars): string {
  return command.replaceAll(/['"\\\s]+/g, '').slice(0, chars)
}
