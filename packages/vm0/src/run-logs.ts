import { Vm0Error, type LogEntry } from '@vm0/contract/client'
import { linesOf, mayPass, pause, type Http } from './http.js'
import { query } from './page.js'

/** How long a server may be away, being started again, before following is given up. */
const patienceMs = 60_000

/**
 * Which part of a run's logs.
 *
 * @example
 * const options = { follow: true }
 */
export interface LogOptions {
  /** Only what comes behind an entry: its `cursor`. */
  after?: string
  /** Go on until the run has ended. Default: end with what there is now. */
  follow?: boolean
  signal?: AbortSignal
}

/** Entries in order; an answer that breaks off goes on from the last one. */
export async function* readLogs(
  http: Http,
  runId: string,
  { after, follow = false, signal }: LogOptions = {},
): AsyncGenerator<LogEntry, void> {
  let cursor = after
  let lastSignMs = performance.now()
  for (let failures = 0; ;) {
    try {
      const path = `/runs/${runId}/logs${query({ follow, ...(cursor ? { after: cursor } : {}) })}`
      const answer = await http.request(path, { signal, patient: follow })
      for await (const entry of linesOf<LogEntry>(answer, signal)) {
        failures = 0
        cursor = entry.cursor
        yield entry
        lastSignMs = performance.now()
      }
      return
    } catch (thrown) {
      const passes = thrown instanceof Vm0Error && mayPass(thrown) && !signal?.aborted
      if (!passes || performance.now() - lastSignMs > patienceMs) throw thrown
    }
    failures += 1
    await pause(Math.min(2000, 50 * 2 ** failures), signal)
  }
}
