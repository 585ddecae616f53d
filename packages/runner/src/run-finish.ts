import type { SavedCheckpoint } from '@vm0/checkpoints'
import type { Timings } from '@vm0/contract'
import type { TurnEnd } from '@vm0/frameworks'
import { committedEvent, type RunCheckpoints } from './run-checkpoints.js'
import type { RunContext } from './run-context.js'
import type { Ending } from './run-endings.js'
import type { RunProgress } from './run-progress.js'

export interface RunFinishOptions extends RunContext {
  /** The agent was given its prompt, so that there may be something to save. */
  prompted: boolean
  checkpoints: RunCheckpoints | undefined
  /** What the agent told at its end, where it came to that. */
  turn: TurnEnd | undefined
  progress: RunProgress
  timings: Timings
  /** Milliseconds since the run was created. */
  since(timeMs?: number): number
  /** The outcome is in the row. */
  onEnded(): void
}

/** Saves what there is, then writes outcome and head in one transaction, then tells. */
export async function finishRun(unsaved: Ending, options: RunFinishOptions): Promise<void> {
  const { runner, session, ref, log, checkpoints, prompted, timings, onEnded } = options
  const { ending, saved, committed } = await session.inTurn(async () => {
    const save = prompted && session.sandbox
    const end = (save && (await checkpoints?.atEnd(unsaved))) || { ending: unsaved, saved: null }
    const isCommitted = await commit(end.ending, end.saved, options)
    if (isCommitted && end.saved) session.committed(end.saved)
    return { ...end, committed: isCommitted }
  })
  onEnded()
  if (!committed) runner.logger.warn({ ...ref }, 'the run ended elsewhere: another runner owns the session now')
  if (!committed || ending.reason === 'host_disk_full') await session.discard()
  if (!committed) return
  if (saved) log.append(committedEvent(saved))
  const { state: outcome, reason, error } = ending
  runner.logger.info({ ...ref, outcome, reason, totalMs: timings.totalMs }, 'the end of the run is written')
  log.append({ type: 'run.finished', outcome, reason, timings, error })
}

function commit(ending: Ending, saved: SavedCheckpoint | null, options: RunFinishOptions): Promise<boolean> {
  const { runner, store, ref, epoch, turn, progress, timings, since } = options
  timings.totalMs = since()
  const { startedAtMs, firstTokenAtMs } = progress
  timings.agentReadyMs = startedAtMs === undefined ? null : since(startedAtMs)
  timings.firstTokenMs = firstTokenAtMs === undefined ? null : since(firstTokenAtMs)
  const text = turn ? runner.secrets.seal(turn.text) : null
  const given = ending.state === 'succeeded' ? turn?.output : undefined
  const output = given === undefined ? null : runner.secrets.seal(JSON.stringify(given))
  const { usage, costUsd } = progress.account(turn)
  return store.endRun(ref, epoch, { ...ending, text, output, usage, costUsd, timings }, saved)
}
