import { Readable } from 'node:stream'
import {
  createSessionSchema,
  execRequestSchema,
  fileEntrySchema,
  idSchema,
  pageOf,
  pageQuerySchema,
  sessionSchema,
  toVm0Error,
  type ExecOutput,
} from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { requestedId } from '../idempotency.js'
import { requireSight } from '../principal.js'
import { withHeartbeat } from './heartbeat.js'

const params = z.object({ id: idSchema })
const fileParams = params.extend({ '*': z.string().max(4096) })
const maxFileBytes = 10 * 1024 ** 3
const heartbeatMs = 15_000

/** Sessions, and commands and files in their sandboxes. */
export function sandboxRoutes(app: App, { options: { runner }, sessions }: Parts): void {
  const open = async (projectId: string, sessionId: string) => {
    await sessions.row(projectId, sessionId)
    return { projectId, sessionId }
  }
  app.post(
    '/sessions',
    { schema: { body: createSessionSchema, response: { 201: sessionSchema } } },
    async (request, reply) => {
      const wanted = requestedId(request, request.body.id)
      const id = await sessions.create(request.projectId, { ...request.body, id: wanted })
      return reply.code(201).send(await sessions.get(request.projectId, id))
    },
  )
  app.get(
    '/sessions',
    { schema: { querystring: pageQuerySchema, response: { 200: pageOf(sessionSchema) } } },
    (request) => sessions.list(request.projectId, request.query),
  )
  app.get(
    '/sessions/:id',
    { config: { tokens: true }, schema: { params, response: { 200: sessionSchema } } },
    (request) => {
      requireSight(request.principal, { sessionId: request.params.id })
      return sessions.get(request.projectId, request.params.id)
    },
  )
  app.delete('/sessions/:id', { schema: { params, response: { 204: z.null() } } }, async (request, reply) => {
    await sessions.remove(request.projectId, request.params.id)
    return reply.code(204).send(null)
  })
  app.post('/sessions/:id/prewarm', { schema: { params, response: { 204: z.null() } } }, async (request, reply) => {
    await runner.prewarm(await open(request.projectId, request.params.id))
    return reply.code(204).send(null)
  })
  app.post('/sessions/:id/close', { schema: { params, response: { 200: sessionSchema } } }, async (request) => {
    await runner.close(await open(request.projectId, request.params.id))
    return sessions.get(request.projectId, request.params.id)
  })

  app.post(
    '/sessions/:id/exec',
    { schema: { params, body: execRequestSchema, produces: ['application/x-ndjson'] }, bodyLimit: 16 * 1024 ** 2 },
    async (request, reply) => {
      const ref = await open(request.projectId, request.params.id)
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      return reply
        .type('application/x-ndjson')
        .send(Readable.from(withHeartbeat(execLines(runner.exec(ref, request.body, gone.signal)), heartbeatMs)))
    },
  )

  app.get(
    '/sessions/:id/entries/*',
    { schema: { params: fileParams, response: { 200: z.object({ items: z.array(fileEntrySchema) }) } } },
    async (request) => ({
      items: await runner.listFiles(await open(request.projectId, request.params.id), `/${request.params['*']}`),
    }),
  )
  app.get(
    '/sessions/:id/files/*',
    { schema: { params: fileParams, produces: ['application/octet-stream'] } },
    async (request, reply) => {
      const content = await runner.readFile(await open(request.projectId, request.params.id), `/${request.params['*']}`)
      return reply.type('application/octet-stream').send(Readable.from(content, { objectMode: false }))
    },
  )
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    ;(scope as unknown as App).put(
      '/sessions/:id/files/*',
      { schema: { params: fileParams, response: { 204: z.null() } }, bodyLimit: maxFileBytes },
      async (request, reply) => {
        await runner.writeFile(await open(request.projectId, request.params.id), `/${request.params['*']}`, request.raw)
        return reply.code(204).send(null)
      },
    )
  })
  app.delete(
    '/sessions/:id/files/*',
    { schema: { params: fileParams, response: { 204: z.null() } } },
    async (request, reply) => {
      await runner.removeFile(await open(request.projectId, request.params.id), `/${request.params['*']}`)
      return reply.code(204).send(null)
    },
  )
}

async function* execLines(output: AsyncIterable<ExecOutput>): AsyncGenerator<string> {
  try {
    for await (const part of output) yield `${JSON.stringify(part)}\n`
  } catch (thrown) {
    const { code, message, hint } = toVm0Error(thrown, 'EXEC_FAILED')
    yield `${JSON.stringify({ type: 'error', code, message, hint } satisfies ExecOutput)}\n`
  }
}
