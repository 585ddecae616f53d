import type { Blamed } from '@vm0/contract'

const shownChars = 120

export function gibibytes(bytes: number): string {
  return bytes < 1024 ** 3 ? `${Math.round(bytes / 1024 ** 2)} MiB` : `${(bytes / 1024 ** 3).toFixed(1)} GiB`
}

export function shortCommand(command: string): string {
  const line = command.replaceAll(/\s+/g, ' ').trim()
  return line.length > shownChars ? `${line.slice(0, shownChars)}…` : line
}

/** What an agent is told of a command that was ended, in words that it can act on. */
export function stoppedNote(blamed: Blamed, limitBytes: number, command: string | undefined): string {
  const what = command === undefined ? 'A program that you started' : `Your command \`${shortCommand(command)}\``
  const alone = blamed.processes === 1 ? '' : ` in ${blamed.processes} processes`
  const who = `\`${shortCommand(blamed.process.command)}\` in ${blamed.process.cwd ?? 'an unknown folder'}`
  return (
    `[Note from the platform: ${what} used ${gibibytes(blamed.rssBytes)}${alone} of the ${gibibytes(limitBytes)} of memory that this machine has, and was stopped (${who}). ` +
    'Everything else goes on. Run it so that it needs less: fewer workers, a smaller heap, or a part of the data at a time. ' +
    'If it needs that much, say so in your answer: whoever started this run can give it more memory.]'
  )
}

export function raisedNote(limitBytes: number): string {
  return `[Note from the platform: the memory of this machine was used up, and was raised to ${gibibytes(limitBytes)}. Nothing was stopped.]`
}

export function endedMessage(blamed: Blamed | null, limitBytes: number): string {
  if (!blamed) return `the sandbox used up its memory of ${gibibytes(limitBytes)}`
  const who = blamed.isAgent ? 'the agent itself' : `\`${shortCommand(blamed.process.command)}\``
  return `the sandbox used up its memory of ${gibibytes(limitBytes)}: ${who} had ${gibibytes(blamed.rssBytes)} of it`
}
