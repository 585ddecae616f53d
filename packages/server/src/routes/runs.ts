import { createRunSchema, idSchema, maxPromptBytes, pageOf, pageQuerySchema, runSchema, Vm0Error } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const params = z.object({ id: idSchema })
const heartbeatMs = 15_000

export function runRoutes(app: App, { runs }: Parts): void {
  app.post('/runs', { schema: { body: createRunSchema, response: { 201: runSchema } } }, async (request, reply) => {
    if (Buffer.byteLength(request.body.prompt) > maxPromptBytes)
      throw new Vm0Error('REQUEST_TOO_LARGE', `the prompt is larger than ${maxPromptBytes} bytes`)
    const given = request.headers['idempotency-key']
    const id = request.body.id ?? (typeof given === 'string' ? parsed(given) : undefined)
    return reply.code(201).send(await runs.create(request.projectId, { ...request.body, ...(id ? { id } : {}) }))
  })
  app.get('/runs', { schema: { querystring: pageQuerySchema, response: { 200: pageOf(runSchema) } } }, (request) =>
    runs.list(request.projectId, request.query),
  )
  app.get('/runs/:id', { schema: { params, response: { 200: runSchema } } }, (request) =>
    runs.get(request.projectId, request.params.id),
  )
  app.post('/runs/:id/cancel', { schema: { params, response: { 200: runSchema } } }, (request) =>
    runs.cancel(request.projectId, request.params.id),
  )
  app.post(
    '/runs/:id/input',
    { schema: { params, body: z.strictObject({ text: z.string().min(1).max(maxPromptBytes) }) } },
    async (request, reply) => {
      await runs.input(request.projectId, request.params.id, request.body.text)
      return reply.code(204).send()
    },
  )

  const cursor = z.string().regex(/^\d+\.\d+$/)
  app.get(
    '/runs/:id/events',
    {
      schema: {
        params,
        querystring: z.object({ after: cursor.optional(), follow: z.enum(['true', 'false']).optional() }),
      },
    },
    async (request, reply) => {
      const ndjson = request.headers.accept?.includes('application/x-ndjson') ?? false
      const last = request.headers['last-event-id']
      const after =
        request.query.after ?? (typeof last === 'string' && cursor.safeParse(last).success ? last : undefined)
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      const events = await runs.events(request.projectId, request.params.id, {
        after,
        follow: request.query.follow ? request.query.follow === 'true' : !ndjson,
        signal: gone.signal,
      })
      reply.hijack()
      reply.raw.writeHead(200, {
        'content-type': ndjson ? 'application/x-ndjson' : 'text/event-stream',
        'cache-control': 'no-store',
        'x-request-id': request.id,
      })
      reply.raw.flushHeaders()
      const heartbeat = ndjson ? undefined : setInterval(() => reply.raw.write(': still here\n\n'), heartbeatMs)
      try {
        for await (const event of events) {
          const text = JSON.stringify(event)
          const more = reply.raw.write(
            ndjson ? `${text}\n` : `id: ${event.cursor}\nevent: ${event.type}\ndata: ${text}\n\n`,
          )
          if (!more && !gone.signal.aborted)
            await new Promise<void>((resolve) => {
              reply.raw.once('drain', resolve)
              reply.raw.once('close', resolve)
            })
          if (gone.signal.aborted) return
        }
        reply.raw.end()
      } catch {
        reply.raw.destroy() // the client goes on from its cursor
      } finally {
        clearInterval(heartbeat)
      }
    },
  )
}

function parsed(key: string): string {
  const result = idSchema.safeParse(key)
  if (!result.success) throw new Vm0Error('INVALID_REQUEST', 'Idempotency-Key: expected a UUID')
  return result.data
}
