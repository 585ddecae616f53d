import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { eventSchema, idSchema, type Vm0Event } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const params = z.object({ id: idSchema })
const cursor = z.string().regex(/^\d+\.\d+$/)
/** A proxy must see that the stream lives; a key that ended must not be listened with for longer than this. */
const heartbeatMs = 15_000

/** A run's events: as a stream for EventSource (SSE), or as lines of JSON by `Accept: application/x-ndjson`. */
export function eventRoutes(app: App, { runs, streams }: Parts): void {
  app.get(
    '/runs/:id/events',
    {
      config: { tokens: true },
      schema: {
        description:
          'Events after a cursor (`after`, or the header Last-Event-ID), as text/event-stream that follows the run to its end, or as application/x-ndjson with what there is (`follow=true` goes on), `limit` of them at a time.',
        produces: ['text/event-stream', 'application/x-ndjson'],
        response: { 200: eventSchema },
        params,
        querystring: z.object({
          after: cursor.optional(),
          follow: z.enum(['true', 'false']).optional(),
          /** Ends after so many; the next page comes after the cursor of its last. */
          limit: z.coerce.number().int().min(1).max(100_000).optional(),
          token: z.string().max(200).optional(),
        }),
      },
    },
    async (request, reply) => {
      const ndjson = request.headers.accept?.includes('application/x-ndjson') ?? false
      const { after = lastEventId(request.headers['last-event-id']), follow, limit } = request.query
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      const stream = streams.add(request.principal)
      const stop = (): void => gone.abort()
      stream.signal.addEventListener('abort', stop, { once: true })
      let heartbeat: NodeJS.Timeout | undefined
      try {
        const events = await runs.events(request.principal, request.params.id, {
          after,
          follow: follow ? follow === 'true' : !ndjson,
          signal: gone.signal,
        })
        reply.hijack()
        reply.raw.writeHead(200, {
          ...(reply.getHeaders() as Record<string, string>),
          'content-type': ndjson ? 'application/x-ndjson' : 'text/event-stream',
          'cache-control': 'no-store',
          'x-request-id': request.id,
        })
        if (request.method === 'HEAD') return void reply.raw.end()
        reply.raw.flushHeaders()
        heartbeat = setInterval(() => {
          if (!ndjson) reply.raw.write(': still here\n\n')
          request.stillValid().then(
            (valid) => valid || stop(),
            () => undefined,
          )
        }, heartbeatMs)
        await copy(
          limit === undefined ? events : firstOf(events, limit),
          reply.raw,
          ndjson ? asLine : asServerSentEvent,
          gone.signal,
        )
      } finally {
        clearInterval(heartbeat)
        stream.close()
      }
    },
  )
}

const asLine = (event: Vm0Event): string => `${JSON.stringify(event)}\n`
const asServerSentEvent = (event: Vm0Event): string =>
  `id: ${event.cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`

async function* firstOf(events: AsyncIterable<Vm0Event>, limit: number): AsyncGenerator<Vm0Event> {
  let left = limit
  for await (const event of events) {
    yield event
    left -= 1
    if (left === 0) return
  }
}

/** At the pace of the client. A stream that breaks is destroyed: the client goes on from its cursor. */
async function copy(
  events: AsyncIterable<Vm0Event>,
  response: ServerResponse,
  format: (event: Vm0Event) => string,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const event of events) {
      const more = response.write(format(event))
      if (!more) await once(response, 'drain', { signal }).catch(() => undefined)
      if (signal.aborted) break
    }
    response.end()
  } catch {
    response.destroy()
  }
}

function lastEventId(header: string | string[] | undefined): string | undefined {
  return cursor.safeParse(header).data
}
