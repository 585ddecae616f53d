import { compareCursors, Vm0Error, type Vm0Event } from '@vm0/contract/client'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { connectionLost, mayPass, pause, type Http } from './http.js'

/** The server writes something at least every 15 s: a connection that is silent for longer is dead. */
const silenceMs = 45_000
/** How long after its last sign of life a server may be away, being started again, before the stream is given up. */
const patienceMs = 60_000

export interface FollowOptions {
  /** Only events after this cursor. */
  after?: string | undefined
  /** False: end with what there is now. Default true: go on to the run's last event. */
  follow?: boolean
  signal?: AbortSignal | undefined
  /** When the server was last known to be there, by `performance.now()`: since then it may be away for a while. */
  aliveMs?: number | undefined
}

/** Events of a run from a cursor on. A stream that breaks goes on from the last event: none is lost or repeated. */
export async function* followEvents(
  http: Http,
  runId: string,
  { after, follow = true, signal, aliveMs }: FollowOptions = {},
): AsyncGenerator<Vm0Event, void> {
  let cursor = after
  let lastSignMs = aliveMs
  for (let failures = 0; ;) {
    try {
      for await (const event of openEvents(http, runId, { after: cursor, follow, signal })) {
        if (event !== 'open' && (!cursor || compareCursors(event.cursor, cursor) > 0)) {
          failures = 0
          cursor = event.cursor
          yield event
          if (event.type === 'run.finished') return
        }
        lastSignMs = performance.now() // after the yield: the time before was the caller's
      }
      if (!follow) return
    } catch (thrown) {
      const passes = thrown instanceof Vm0Error && mayPass(thrown) && !signal?.aborted
      if (!passes || lastSignMs === undefined || performance.now() - lastSignMs > patienceMs) throw thrown
    }
    failures += 1
    await pause(Math.min(2000, 50 * 2 ** failures), signal)
  }
}

/** One connection: `open` once it stands, then its events. */
async function* openEvents(
  http: Http,
  runId: string,
  { after, follow, signal }: FollowOptions,
): AsyncGenerator<Vm0Event | 'open', void> {
  const query = new URLSearchParams({ follow: String(follow), ...(after ? { after } : {}) })
  const dead = new AbortController()
  const response = await http.request(`/runs/${runId}/events?${query}`, {
    headers: { accept: 'text/event-stream' },
    signal: signal ? AbortSignal.any([signal, dead.signal]) : dead.signal,
  })
  yield 'open'
  // Silence counts only while someone waits for the next event.
  let timer: NodeJS.Timeout | undefined
  const arm = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => dead.abort(new Error(`the server was silent for ${silenceMs} ms`)), silenceMs)
  }
  const reader = response
    .body!.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          if (timer) arm()
          controller.enqueue(chunk)
        },
      }),
    )
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream())
    .getReader()
  const read = async (): ReturnType<typeof reader.read> => {
    arm()
    try {
      return await reader.read()
    } catch (cause) {
      throw connectionLost(cause, signal)
    } finally {
      clearTimeout(timer)
      timer = undefined
    }
  }
  try {
    for (let next = await read(); !next.done; next = await read()) yield JSON.parse(next.value.data) as Vm0Event
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}
