import { createHash } from 'node:crypto'

/** A run's id is one of 128 bits already: as the trace's it can be searched for by whoever knows the run. */
export function traceIdOf(runId: string): string {
  const digits = runId.replaceAll('-', '').toLowerCase()
  // A trace id of nothing but zeros isn't valid.
  return /^0+$/.test(digits) ? `${'0'.repeat(31)}1` : digits
}

/** Where a run's spans belong: the trace of the caller's span, where there is one, or one of the run's own. */
export function traceOfRun(runId: string, traceparent?: string | undefined) {
  const [, traceId = traceIdOf(runId), remoteParentId = null] = traceparent?.split('-') ?? []
  return { traceId, remoteParentId }
}

/** The id of a run's span by its key within the run: `run` is the run itself. The same each time, so nothing has to keep it. */
export function spanIdOf(runId: string, key: string): string {
  return createHash('sha256').update(`${runId} ${key}`).digest('hex').slice(0, 16)
}

/** What a program of the run finds as TRACEPARENT: its own spans then lie below the run's. */
export function traceparentOf(runId: string, callers?: string | undefined): string {
  return `00-${traceOfRun(runId, callers).traceId}-${spanIdOf(runId, 'run')}-01`
}
