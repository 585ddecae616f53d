import { byteWords, type Blamed } from '@vm0/contract'

const shownChars = 120

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
    `[Note from the platform: ${what} used ${byteWords(blamed.rssBytes)}${alone} of the ${byteWords(limitBytes)} of memory that this machine has, and was stopped (${who}). ` +
    'Everything else goes on. Run it so that it needs less: fewer workers, a smaller heap, or a part of the data at a time. ' +
    'If it needs that much, say so in your answer: whoever started this run can give it more memory.]'
  )
}

export function raisedNote(limitBytes: number): string {
  return `[Note from the platform: the memory of this machine was used up, and was raised to ${byteWords(limitBytes)}. Nothing was stopped.]`
}

export function endedMessage(blamed: Blamed | null, limitBytes: number): string {
  if (!blamed) return `the sandbox used up its memory of ${byteWords(limitBytes)}`
  const who = blamed.isAgent ? 'the agent itself' : `\`${shortCommand(blamed.process.command)}\``
  return `the sandbox used up its memory of ${byteWords(limitBytes)}: ${who} had ${byteWords(blamed.rssBytes)} of it`
}
