import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { frameworkSchema, keySchema, Vm0Error } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const maxUploadBytes = 2 * 1024 ** 3

/** Keys, frameworks, workspace uploads. */
export function otherRoutes(app: App, { options, keys }: Parts): void {
  app.get(
    '/frameworks',
    { schema: { response: { 200: z.object({ items: z.array(frameworkSchema) }) } } },
    async () => ({ items: await options.frameworks() }),
  )
  app.get('/keys', { schema: { response: { 200: z.object({ items: z.array(keySchema) }) } } }, async (request) => ({
    items: await keys.list(request.projectId),
  }))
  app.post(
    '/keys',
    { schema: { body: z.strictObject({ name: z.string().min(1).max(64) }), response: { 201: keySchema } } },
    async (request, reply) => reply.code(201).send(await keys.create(request.projectId, request.body.name)),
  )
  app.delete('/keys/:id', { schema: { params: z.object({ id: z.string().max(64) }) } }, async (request, reply) => {
    await keys.revoke(request.projectId, request.params.id)
    return reply.code(204).send()
  })

  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    ;(scope as unknown as App).put(
      '/uploads/:digest',
      {
        schema: { params: z.object({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) }) },
        bodyLimit: maxUploadBytes,
      },
      async (request, reply) => {
        const { digest } = request.params
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
            .onConflict((oc) => oc.columns(['project_id', 'digest']).doNothing())
            .execute()
        } finally {
          await rm(file, { force: true })
        }
        return reply.code(204).send()
      },
    )
  })
}
