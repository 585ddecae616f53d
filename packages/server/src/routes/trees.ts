import { Readable } from 'node:stream'
import { fileEntrySchema, idSchema, type SessionRef } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const params = z.object({ id: idSchema, '*': z.string().max(4096) })
const maxTreeBytes = 10 * 1024 ** 3

interface TreeRequest {
  projectId: string
  params: z.infer<typeof params>
}

/** One entry's facts, and whole folders as tar: what is in them is the sandbox's affair, here they are bytes. */
export function treeRoutes(app: App, { options: { runner }, sessions }: Parts): void {
  const place = async ({ projectId, params: given }: TreeRequest): Promise<[SessionRef, string]> => {
    await sessions.row(projectId, given.id)
    return [{ projectId, sessionId: given.id }, `/${given['*']}`]
  }
  app.get('/sessions/:id/stat/*', { schema: { params, response: { 200: fileEntrySchema } } }, async (request) =>
    runner.statFile(...(await place(request))),
  )
  app.get('/sessions/:id/tree/*', { schema: { params, produces: ['application/x-tar'] } }, async (request, reply) => {
    const content = await runner.readTree(...(await place(request)))
    return reply.type('application/x-tar').send(Readable.from(content, { objectMode: false }))
  })
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    ;(scope as unknown as App).put(
      '/sessions/:id/tree/*',
      { schema: { params, response: { 204: z.null() } }, bodyLimit: maxTreeBytes },
      async (request, reply) => {
        await runner.writeTree(...(await place(request)), request.raw)
        return reply.code(204).send(null)
      },
    )
  })
}
