import { Readable } from 'node:stream'
import { idSchema, maxPatchLineBytes, toVm0Error, type SessionRef } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const params = z.object({ id: idSchema, '*': z.string().max(4096) })
const maxComparisonBytes = 8 * 1024 ** 2
const maxNamesBytes = 256 * 1024 ** 2
const maxFileBytes = 1024 ** 4

interface FolderRequest {
  projectId: string
  params: z.infer<typeof params>
}

/** What moves only what differs: folders are compared, named entries of them fetched and removed, big files moved in pieces. */
export function folderRoutes(app: App, { options: { runner }, sessions }: Parts): void {
  const place = async ({ projectId, params: given }: FolderRequest): Promise<[SessionRef, string]> => {
    await sessions.row(projectId, given.id)
    return [{ projectId, sessionId: given.id }, `/${given['*']}`]
  }
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    const routes = scope as unknown as App
    routes.post(
      '/sessions/:id/comparisons/*',
      {
        schema: { params, produces: ['application/x-ndjson'] },
        bodyLimit: maxComparisonBytes,
        config: { scope: 'read' },
      },
      async (request, reply) => {
        const [ref, path] = await place(request)
        // What goes wrong before the first line has a status of its own.
        const lines = runner.compareFolder(ref, path, request.raw)[Symbol.asyncIterator]()
        const first = await lines.next()
        return reply.type('application/x-ndjson').send(Readable.from(rest(first, lines)))
      },
    )
    routes.post(
      '/sessions/:id/chunks/*',
      { schema: { params, produces: ['application/x-ndjson'] }, config: { scope: 'read' } },
      async (request, reply) => {
        const lines = runner.listChunks(...(await place(request)), request.raw)[Symbol.asyncIterator]()
        const first = await lines.next()
        return reply.type('application/x-ndjson').send(Readable.from(rest(first, lines)))
      },
    )
    routes.post(
      '/sessions/:id/ranges/*',
      {
        schema: { params, produces: ['application/octet-stream'] },
        bodyLimit: maxPatchLineBytes,
        config: { scope: 'read' },
      },
      async (request, reply) => {
        const content = await runner.readRanges(...(await place(request)), request.raw)
        return reply.type('application/octet-stream').send(Readable.from(content, { objectMode: false }))
      },
    )
    routes.post(
      '/sessions/:id/patches/*',
      { schema: { params, response: { 204: z.null() } }, bodyLimit: maxFileBytes },
      async (request, reply) => {
        await runner.patchFile(...(await place(request)), request.raw)
        return reply.code(204).send(null)
      },
    )
    routes.post(
      '/sessions/:id/entries/*',
      { schema: { params, produces: ['application/x-tar'] }, bodyLimit: maxNamesBytes, config: { scope: 'read' } },
      async (request, reply) => {
        const content = await runner.readEntries(...(await place(request)), request.raw)
        return reply.type('application/x-tar').send(Readable.from(content, { objectMode: false }))
      },
    )
    routes.post(
      '/sessions/:id/removals/*',
      { schema: { params, response: { 204: z.null() } }, bodyLimit: maxNamesBytes },
      async (request, reply) => {
        await runner.removeEntries(...(await place(request)), request.raw)
        return reply.code(204).send(null)
      },
    )
  })
}

async function* rest(first: IteratorResult<string>, lines: AsyncIterator<string>): AsyncGenerator<string> {
  try {
    for (let next = first; !next.done; next = await lines.next()) yield next.value
  } catch (thrown) {
    const { code, message, hint } = toVm0Error(thrown, 'EXEC_FAILED')
    yield `${JSON.stringify({ type: 'error', code, message, hint })}\n`
  } finally {
    await lines.return?.()
  }
}
