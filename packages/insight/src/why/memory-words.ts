import { byteWords, type EventOf } from '@vm0/contract'
import { quoted } from '../detect/finding.js'

type OutOfMemory = Pick<EventOf<'sandbox.out_of_memory'>, 'action' | 'blamed' | 'limitBytes' | 'victims'>

const shownChars = 100

/** Who had the memory: `python3 train.py` in /workspace, with how much of what there was. */
export function blamedWords(event: Pick<OutOfMemory, 'blamed' | 'limitBytes'>): string {
  return event.blamed ? `${hadWords(event)} of ${byteWords(event.limitBytes)}` : hadWords(event)
}

/** The same behind a word of the limit. */
export function hadWords({ blamed, limitBytes }: Pick<OutOfMemory, 'blamed' | 'limitBytes'>): string {
  if (!blamed) return `the memory of ${byteWords(limitBytes)} was used up`
  const { process, processes, rssBytes, isAgent } = blamed
  const who = isAgent ? 'the agent itself' : quoted(process.command.slice(0, shownChars))
  const where = isAgent || process.cwd === null ? '' : ` in ${process.cwd}`
  const alike = processes > 1 ? ` and ${processes - 1} more that belong to it` : ''
  return `${who}${where}${alike} had ${byteWords(rssBytes)}`
}

/** What happened to the sandbox's memory, and what was done. */
export function memoryWords(event: OutOfMemory): string {
  const had = blamedWords(event)
  switch (event.action) {
    case 'stopped_process':
      return `${had} of memory, and was stopped; the agent was told`
    case 'doubled':
      return `the memory was used up and raised to ${byteWords(event.limitBytes)}: ${blamedWords({ ...event, limitBytes: event.limitBytes / 2 })}`
    case 'stopped_run':
      return `${had} of memory, and the run was ended for it`
    case 'killed_by_kernel': {
      const [victim] = event.victims
      return `the kernel killed ${victim ? quoted(victim.command.slice(0, shownChars)) : 'a process'} at the memory limit of ${byteWords(event.limitBytes)}`
    }
  }
}
