import { Readable } from 'node:stream'
import { idSchema, logEntrySchema, logQuerySchema, type LogEntry } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { timelineOf } from '../timeline.js'
import { withHeartbeat } from './heartbeat.js'

const heartbeatMs = 15_000

/** Everything that was told of a run, by whom ever, in the order of time. */
export function logRoutes(app: App, { runs, streams, options }: Parts): void {
  app.get(
    '/runs/:id/logs',
    {
      schema: {
        description:
          "A run's events and what the platform says of it (runner, server, the sandbox's resources), as lines of JSON in the order of time: what there is, or with `follow=true` until the run has ended. Empty lines keep the connection open.",
        produces: ['application/x-ndjson'],
        params: z.object({ id: idSchema }),
        querystring: logQuerySchema,
        response: { 200: logEntrySchema },
      },
    },
    async (request, reply) => {
      const { after, follow, limit } = request.query
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      const stream = streams.add(request.principal)
      stream.signal.addEventListener('abort', () => gone.abort(), { once: true })
      try {
        const lines = { runs, lines: options.runLines }
        const entries = timelineOf(lines, request.principal, request.params.id, {
          after,
          follow: follow === 'true',
          signal: gone.signal,
        })
        // What is wrong with the request is told before the answer begins.
        const first = await entries.next()
        const all = withHeartbeat(
          linesOf(first, entries, limit, () => stream.close()),
          heartbeatMs,
        )
        reply.serializer(String).type('application/x-ndjson')
        return reply.send(Readable.from(all) as never)
      } catch (error) {
        stream.close()
        throw error
      }
    },
  )
}

async function* linesOf(
  first: IteratorResult<LogEntry, unknown>,
  rest: AsyncGenerator<LogEntry>,
  limit = Infinity,
  close: () => void,
): AsyncGenerator<string> {
  try {
    let left = limit
    for (let next = first; !next.done && left > 0; left -= 1) {
      yield `${JSON.stringify(next.value)}\n`
      if (left > 1) next = await rest.next()
    }
  } finally {
    void rest.return(undefined)
    close()
  }
}
