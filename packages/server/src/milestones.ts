import type { Schema } from '@vm0/backends'
import {
  formatCursor,
  isEnded,
  noTimings,
  type Outcome,
  type RunState,
  type RunView,
  type Vm0Event,
} from '@vm0/contract'
import type { Selectable } from 'kysely'
import { time } from './views.js'

type Row = Selectable<Schema['runs']>

/** The first event of every run: the row itself is what makes it queued. No owner's epoch is 0. */
export function queuedEvent(row: Row): Vm0Event {
  return { ...envelope(row, formatCursor(0, 1), row.created_at), type: 'run.queued' }
}

/**
 * The last event of a run that has ended, for a log that doesn't have it: the run never started, or its host was lost. The
 * epoch after its own is nobody's, so the cursor is no one that a lost part of the log may have had.
 */
export function endingOf(row: Row): Vm0Event | undefined {
  if (!isEnded(row.state as RunState)) return undefined
  return {
    ...envelope(row, formatCursor(Number(row.epoch) + 1, 1), row.ended_at ?? row.created_at),
    type: 'run.finished',
    outcome: row.state as Outcome,
    reason: row.reason,
    timings: { ...noTimings, ...(row.timings as object) },
    error: row.error as RunView['error'],
  }
}

function envelope(row: Row, cursor: string, at: Date) {
  return { v: 1 as const, cursor, time: time(at), runId: row.id, sessionId: row.session_id }
}
