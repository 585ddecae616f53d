import type { IncomingHttpHeaders } from 'node:http'
import {
  answerSchema,
  createRunSchema,
  idSchema,
  maxPromptBytes,
  pageOf,
  runPageSchema,
  runSchema,
  traceparentSchema,
  Vm0Error,
} from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { requestedId } from '../idempotency.js'

const params = z.object({ id: idSchema })

export function runRoutes(app: App, { runs }: Parts): void {
  app.post('/runs', { schema: { body: createRunSchema, response: { 201: runSchema } } }, async (request, reply) => {
    if (Buffer.byteLength(request.body.prompt) > maxPromptBytes)
      throw new Vm0Error('REQUEST_TOO_LARGE', `the prompt is larger than ${maxPromptBytes} bytes`)
    const id = requestedId(request, request.body.id)
    const body = { ...request.body, ...callersSpan(request), id }
    return reply.code(201).send(await runs.create(request.projectId, body, request.arrival))
  })
  app.get('/runs', { schema: { querystring: runPageSchema, response: { 200: pageOf(runSchema) } } }, (request) =>
    runs.list(request.projectId, request.query),
  )
  app.get('/runs/:id', { config: { tokens: true }, schema: { params, response: { 200: runSchema } } }, (request) =>
    runs.get(request.principal, request.params.id),
  )
  app.post('/runs/:id/cancel', { schema: { params, response: { 200: runSchema } } }, (request) =>
    runs.cancel(request.principal, request.params.id),
  )
  app.post(
    '/runs/:id/input',
    {
      schema: {
        params,
        body: z.strictObject({ text: z.string().min(1).max(maxPromptBytes) }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await runs.input(request.projectId, request.params.id, request.body.text)
      return reply.code(204).send(null)
    },
  )
  app.post(
    '/runs/:id/answers',
    { schema: { params, body: answerSchema, response: { 204: z.null() } } },
    async (request, reply) => {
      await runs.answer(request.projectId, request.params.id, request.body)
      return reply.code(204).send(null)
    },
  )
}

/** A header that is no traceparent begins a trace of its own, as the standard has it. */
function callersSpan({ headers, body }: { headers: IncomingHttpHeaders; body: { traceparent?: string | undefined } }) {
  const traceparent = body.traceparent ?? traceparentSchema.safeParse(headers.traceparent).data
  return traceparent === undefined ? {} : { traceparent }
}
