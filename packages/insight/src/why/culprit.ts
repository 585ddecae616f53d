import { byteWords, isEnded, type RunView, type Why } from '@vm0/contract'
import { nameOf, quoted } from '../detect/finding.js'
import type { Call } from '../record/call.js'
import type { RunRecord } from '../record/run-record.js'
import { lasting } from '../story/words.js'
import { blamedWords } from './memory-words.js'

const shownLines = 5
const maxLineChars = 300
const waitedMs = 1_000
/** How much later than it happened a call may have been told of. */
const lateMs = 3_000
/** What an agent tells of a call that was at work when it was asked to end its turn. */
const wasInterrupted = /doesn't want to (?:proceed|take this action)|interrupted|aborted/i

/** What was at work when the run ended, or is now: a tool call, before it the model. */
export function culpritOf(record: RunRecord, { state, reason }: Pick<RunView, 'state' | 'reason'>): Why['culprit'] {
  if (state === 'succeeded') return null
  if (reason === 'out_of_memory') {
    const blamed = blamedIn(record)
    if (blamed) return blamed
  }
  const call = callAtEnd(record)
  const had = isEnded(state) ? 'had been' : 'has been'
  if (call) {
    const runningMs = (call.endMs ?? record.lastMs) - call.startMs
    return {
      text: `${quoted(call.command ?? call.title) || call.name} (${call.name}) ${had} at work for ${lasting(runningMs)}`,
      toolId: call.id,
      command: call.command ?? null,
      runningMs,
      lastOutput: lastLines(call.ok === undefined || wasInterrupted.test(call.tail) ? record.stderr : call.tail),
    }
  }
  const request = record.unanswered
  const runningMs = request ? (request.endMs ?? record.lastMs) - request.atMs : 0
  // A refusal is no wait: what was refused is in the cause.
  if (!request || runningMs < waitedMs) return null
  const text = `a request to the model ${had} without an answer for ${lasting(runningMs)}`
  return { text, toolId: null, command: null, runningMs, lastOutput: lastLines(record.stderr) }
}

/** Who had the memory that was used up, with the call that had started it. */
function blamedIn(record: RunRecord): Why['culprit'] {
  const met = record.memory.findLast(({ blamed }) => blamed !== null)
  if (!met?.blamed || met.blamed.isAgent) return null
  const { toolId, process, lastOutput } = met.blamed
  const call =
    toolId === undefined
      ? onlyCallOf(record, met.atMs, process.ageMs)
      : record.calls.findLast(({ id }) => id === toolId)
  const grew = process.grewBytes > 0 ? `, ${byteWords(process.grewBytes)} of it in its last minute` : ''
  const of = call ? `; ${nameOf(call)} had started it` : ''
  return {
    text: `${blamedWords(met)}${grew}${of}`,
    toolId: call?.id ?? null,
    command: call?.command ?? process.command,
    runningMs: call ? met.atMs - call.startMs : process.ageMs,
    lastOutput: lastOutput.length > 0 ? lastOutput : lastLines(call?.tail ?? ''),
  }
}

/**
 * The one call that ran a command then and can have started a process of this age. On a host that is very busy the agent's word of
 * its call may have come after its process had used up the memory: it was not known whose that was then.
 */
function onlyCallOf({ calls }: RunRecord, atMs: number, ageMs: number): Call | undefined {
  const atWork = calls.filter(
    ({ command, startMs, endMs }) =>
      command !== undefined && startMs <= atMs + lateMs && (endMs === undefined || endMs >= atMs),
  )
  const [only] = atWork
  return atWork.length === 1 && only && atMs - ageMs >= only.startMs - lateMs ? only : undefined
}

/** The innermost call that has no end: a sub-agent's before the one that sent it. */
function callAtEnd(record: RunRecord): Call | undefined {
  const open = record.openCalls.findLast(({ kind }) => kind !== 'subagent') ?? record.openCalls.at(-1)
  if (open) return open
  const last = record.calls.at(-1)
  return last?.ok === false && last.exitCode === undefined && wasInterrupted.test(last.tail) ? last : undefined
}

export function lastLines(text: string): string[] {
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '')
    .slice(-shownLines)
    .map((line) => line.slice(0, maxLineChars))
}
