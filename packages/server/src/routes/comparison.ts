import {
  comparisonSchema,
  idSchema,
  insightsQuerySchema,
  insightsSchema,
  maxPromptBytes,
  replayedSchema,
  replaySchema,
  Vm0Error,
} from '@vm0/contract'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { requestedId } from '../idempotency.js'

/** What several runs differ by, and a run tried again. */
export function comparisonRoutes(app: App, { comparisons, replays }: Parts): void {
  app.get(
    '/insights',
    {
      schema: {
        description: 'Runs that have ended, put together by what they have in common: outcome, time, cost, findings.',
        querystring: insightsQuerySchema,
        response: { 200: insightsSchema },
      },
    },
    async (request, reply) => {
      const { by } = request.query
      return { by, ...(await comparisons.insights(request.principal, request.query, untilGone(reply))) }
    },
  )
  app.get(
    '/runs/:id/compare/:other',
    {
      schema: {
        description: 'Two runs beside each other.',
        params: z.object({ id: idSchema, other: idSchema }),
        response: { 200: comparisonSchema },
      },
    },
    (request, reply) =>
      comparisons.compare(request.principal, request.params.id, request.params.other, untilGone(reply)),
  )
  app.post(
    '/runs/:id/replay',
    {
      schema: {
        description: 'The run again in a session of its own, from one of its tool calls on.',
        params: z.object({ id: idSchema }),
        body: replaySchema,
        response: { 201: replayedSchema },
      },
    },
    async (request, reply) => {
      if (Buffer.byteLength(request.body.prompt ?? '') > maxPromptBytes)
        throw new Vm0Error('REQUEST_TOO_LARGE', `the prompt is larger than ${maxPromptBytes} bytes`)
      const body = { ...request.body, id: requestedId(request, request.body.id) }
      const { principal, arrival } = request
      return reply.code(201).send(await replays.create(principal, request.params.id, body, arrival, untilGone(reply)))
    },
  )
}

function untilGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  return gone.signal
}
