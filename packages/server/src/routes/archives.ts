import { PassThrough, Readable } from 'node:stream'
import { exportQuerySchema, idSchema, importQuerySchema, toVm0Error, type ImportOutput } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { withHeartbeat } from './heartbeat.js'
import { readOn } from './read-on.js'

const params = z.object({ id: idSchema })
const heartbeatMs = 15_000
/** The store's own bound comes first. */
const maxBytes = 2 ** 40

/** Sessions out to a file, and in from one. */
export function archiveRoutes(app: App, { archives, templates, options, storage }: Parts): void {
  const exported = { params, querystring: exportQuerySchema, produces: ['application/x-tar'] }
  app.get('/sessions/:id/export', { schema: exported }, async (request, reply) => {
    const withTemplate = request.query.template === 'include'
    const content = await archives.export(request.projectId, request.params.id, { withTemplate })
    return reply.type('application/x-tar').send(Readable.from(content, { objectMode: false }))
  })
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    ;(scope as unknown as App).post(
      '/sessions/import',
      { schema: { querystring: importQuerySchema, produces: ['application/x-ndjson'] }, bodyLimit: maxBytes },
      async (request, reply) => {
        const { template } = request.query
        const { database } = options
        const onto =
          template === undefined
            ? undefined
            : (await templates.resolve(request.projectId, template, database.db)).digest
        await storage.requireRoom(request.projectId)
        // All of it is here and checked before the answer begins; to make the session may take minutes.
        const incoming = await archives
          .receive(request.raw.iterator({ destroyOnReturn: false }))
          .catch(async (error: unknown) => {
            await readOn(request.raw)
            throw error
          })
        const lines = new PassThrough({ encoding: 'utf8' })
        const say = (line: ImportOutput): void => {
          lines.end(`${JSON.stringify(line)}\n`)
        }
        void archives
          .adopt(request.projectId, incoming, onto)
          .then((sessionId) => say({ type: 'imported', sessionId }))
          .catch((thrown: unknown) => {
            const { code, message, hint } = toVm0Error(thrown)
            say({ type: 'error', code, message, hint })
          })
          .finally(() => incoming.close())
        const beating = withHeartbeat(lines[Symbol.asyncIterator]() as AsyncIterator<string>, heartbeatMs)
        return reply.type('application/x-ndjson').send(Readable.from(beating))
      },
    )
  })
}
