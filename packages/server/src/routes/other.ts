import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { frameworkSchema, Vm0Error } from '@vm0/contract'
import { sql } from 'kysely'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const maxUploadBytes = 2 * 1024 ** 3

/** Frameworks, workspace uploads. */
export function otherRoutes(app: App, { options, storage }: Parts): void {
  app.get(
    '/frameworks',
    { schema: { response: { 200: z.object({ items: z.array(frameworkSchema) }) } } },
    async () => ({ items: await options.frameworks() }),
  )

  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    ;(scope as unknown as App).put(
      '/uploads/:digest',
      {
        schema: {
          params: z.object({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) }),
          response: { 204: z.null() },
        },
        bodyLimit: maxUploadBytes,
      },
      async (request, reply) => {
        const { digest } = request.params
        await storage.requireRoom(request.projectId)
        const file = join(options.scratch, `upload-${randomBytes(8).toString('hex')}`)
        try {
          const hash = createHash('sha256')
          let bytes = 0
          await pipeline(
            request.raw,
            async function* (source: AsyncIterable<Buffer>) {
              for await (const chunk of source) {
                bytes += chunk.length
                if (bytes > maxUploadBytes)
                  throw new Vm0Error('REQUEST_TOO_LARGE', `the workspace is larger than ${maxUploadBytes} bytes`)
                hash.update(chunk)
                yield chunk
              }
            },
            createWriteStream(file, { mode: 0o600 }),
          )
          const found = `sha256:${hash.digest('hex')}`
          if (found !== digest)
            throw new Vm0Error('INVALID_REQUEST', `the upload has the digest ${found}; expected ${digest}`)
          await options.blobs.putFile(`uploads/${request.projectId}/${digest.replace(':', '-')}`, file)
          await options.database.db
            .insertInto('uploads')
            .values({ project_id: request.projectId, digest, size_bytes: bytes })
            .onConflict((oc) => oc.columns(['project_id', 'digest']).doUpdateSet({ created_at: sql<Date>`now()` }))
            .execute()
        } finally {
          await rm(file, { force: true })
        }
        return reply.code(204).send(null)
      },
    )
  })
}
