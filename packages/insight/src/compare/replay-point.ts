import type { RunRecord } from '../record/run-record.js'

export interface ReplayPoint {
  /** The call from which on the run is done anew. */
  toolId: string
  /** The state before it that was saved last in the run; null: none was, it is the one that the run began with. */
  checkpoint: string | null
  /** Calls between that state and this one: they are done anew too. */
  callsBetween: number
}

/** Where a replay begins: `from` is a call's id, its number from 1, or the end of an id. Undefined where there is no such call. */
export function replayPoint({ calls, checkpoints }: RunRecord, from: string): ReplayPoint | undefined {
  const byEnd = calls.filter(({ id }) => id.endsWith(from))
  const call =
    calls.find(({ id }) => id === from) ??
    (/^\d{1,6}$/.test(from) ? calls[Number(from) - 1] : byEnd.length === 1 ? byEnd[0] : undefined)
  if (!call) return undefined
  const position = calls.indexOf(call)
  // A checkpoint is told of when it is durable, by when the next call may have begun: what it holds is told by its calls.
  const states = checkpoints
    .filter(({ toolIds }) => toolIds.length > 0)
    .map(({ id, toolIds }) => ({ id, last: calls.findLastIndex((each) => toolIds.includes(each.id)) }))
    .filter(({ last }) => last >= 0 && last < position)
  const state = states.toSorted((a, b) => a.last - b.last).at(-1)
  return { toolId: call.id, checkpoint: state?.id ?? null, callsBetween: position - 1 - (state?.last ?? -1) }
}
