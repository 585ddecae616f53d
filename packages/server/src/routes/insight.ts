import {
  idSchema,
  traceQuerySchema,
  thresholdsSchema,
  traceSchema,
  whySchema,
  type RunView,
  type Trace,
  type Vm0Event,
} from '@vm0/contract'
import {
  CallTexts,
  htmlOf,
  otlpOf,
  perfettoOf,
  RunRecord,
  TraceBuilder,
  whyOf,
  type Circumstances,
  type TracedRun,
} from '@vm0/insight'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import type { Principal } from '../principal.js'

const params = z.object({ id: idSchema })

interface Call {
  principal: Principal
  params: { id: string }
}

/** What a page of a run has to know. */
class PageReading {
  private readonly record = new RunRecord()
  private readonly texts = new CallTexts()
  private readonly builder: TraceBuilder

  constructor(run: TracedRun) {
    this.builder = new TraceBuilder(run)
  }

  add(event: Vm0Event): void {
    for (const each of [this.record, this.texts, this.builder]) each.add(event)
  }

  html(run: RunView, circumstances: Circumstances): string {
    const why = whyOf(this.record, run, circumstances)
    return htmlOf({ run, trace: this.builder.trace(), why, texts: this.texts })
  }
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
          'The run as spans; with `format=otlp` as the body of an OTLP/HTTP export, with `format=perfetto` as a Chrome trace, with `format=html` as a page that needs nothing else.',
        params,
        querystring: traceQuerySchema,
        response: { 200: traceSchema },
      },
    },
    async (request, reply) => {
      const circumstances = await runs.circumstances(request.principal, request.params.id)
      const { traceparent } = circumstances
      if (request.query.format === 'html') {
        const page = await read(request, reply, (run) => new PageReading({ ...run, traceparent }))
        const run = await runs.get(request.principal, request.params.id)
        reply.serializer(String).type('text/html; charset=utf-8')
        // It is for a file: shown from here it would have this origin.
        reply.header('content-disposition', `attachment; filename="run-${run.id}.html"`)
        reply.header('content-security-policy', "sandbox; default-src 'none'; style-src 'unsafe-inline'")
        return page.html(run, circumstances) as unknown as Trace
      }
      const trace = (await read(request, reply, (run) => new TraceBuilder({ ...run, traceparent }))).trace()
      const { format } = request.query
      if (format === 'json') return trace
      // Neither is a trace in the schema's form.
      reply.serializer((body: unknown) => JSON.stringify(body)).type('application/json; charset=utf-8')
      return (format === 'otlp' ? otlpOf(trace) : perfettoOf(trace)) as typeof trace
    },
  )
  app.get(
    '/runs/:id/why',
    {
      config: { tokens: true },
      schema: {
        description:
          'Why the run ended as it did, what was at work then, what to do, what could be changed, and its story.',
        params,
        querystring: thresholdsSchema,
        response: { 200: whySchema },
      },
    },
    async (request, reply) => {
      const record = await read(request, reply, () => new RunRecord())
      // Read after the events: what they end with is in the row.
      const run = await runs.get(request.principal, request.params.id)
      const circumstances = await runs.circumstances(request.principal, run.id)
      return whyOf(record, run, { ...circumstances, thresholds: request.query })
    },
  )
}
