import { idSchema, traceQuerySchema, traceSchema, type RunView, type Vm0Event } from '@vm0/contract'
import { otlpOf, perfettoOf, TraceBuilder } from '@vm0/insight'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import type { Principal } from '../principal.js'

const params = z.object({ id: idSchema })

interface Call {
  principal: Principal
  params: { id: string }
}

interface Reading {
  add(event: Vm0Event): void
}

/** What can be said of a run: made of its events at each request, nothing of it is stored. */
export function insightRoutes(app: App, { runs }: Parts): void {
  /** Hands all events that there are to those who read them, one after the other. */
  const read = async <T extends Reading>(
    { principal, params }: Call,
    reply: FastifyReply,
    by: (run: RunView) => T,
  ): Promise<T> => {
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    const reading = by(await runs.get(principal, params.id))
    const events = await runs.events(principal, params.id, { follow: false, signal: gone.signal })
    for await (const event of events) reading.add(event)
    return reading
  }

  app.get(
    '/runs/:id/trace',
    {
      config: { tokens: true },
      schema: {
        description:
          'The run as spans; with `format=otlp` as the body of an OTLP/HTTP export, with `format=perfetto` as a Chrome trace.',
        params,
        querystring: traceQuerySchema,
        response: { 200: traceSchema },
      },
    },
    async (request, reply) => {
      const trace = (await read(request, reply, (run) => new TraceBuilder(run))).trace()
      const { format } = request.query
      if (format === 'json') return trace
      // Neither is a trace in the schema's form.
      reply.serializer((body: unknown) => JSON.stringify(body)).type('application/json; charset=utf-8')
      return (format === 'otlp' ? otlpOf(trace) : perfettoOf(trace)) as typeof trace
    },
  )
}
