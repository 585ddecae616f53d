import { compareCursors, type Vm0Event } from '@vm0/contract/client'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { pause, type Http } from './http.js'

/** Events of a run from a cursor to its end. A stream that breaks goes on from the last event: none is lost or repeated. */
export async function* followEvents(
  http: Http,
  runId: string,
  after?: string,
  signal?: AbortSignal,
): AsyncGenerator<Vm0Event, void> {
  let cursor = after
  for (let failures = 0; ;) {
    const response = await http.request(`/runs/${runId}/events${cursor ? `?after=${cursor}` : ''}`, {
      headers: { accept: 'text/event-stream' },
      signal,
    })
    try {
      const reader = response
        .body!.pipeThrough(new TextDecoderStream())
        .pipeThrough(new EventSourceParserStream())
        .getReader()
      try {
        for (let next = await reader.read(); !next.done; next = await reader.read()) {
          const event = JSON.parse(next.value.data) as Vm0Event
          if (cursor && compareCursors(event.cursor, cursor) <= 0) continue
          failures = 0
          cursor = event.cursor
          yield event
          if (event.type === 'run.finished') return
        }
      } finally {
        await reader.cancel().catch(() => undefined)
      }
    } catch (error) {
      if (signal?.aborted) throw error
    }
    failures += 1
    await pause(Math.min(2000, 50 * 2 ** failures), signal)
  }
}
