import { isUtf8 } from 'node:buffer'
import { Vm0Error } from '@vm0/contract'
import type { FastifyInstance } from 'fastify'

/** JSON as Fastify reads it, but bytes that are no text are refused: decoded, they would be another prompt than the one that was sent. */
export function readJsonBodies(app: Pick<FastifyInstance, 'addContentTypeParser' | 'getDefaultJsonParser'>): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (isUtf8(body)) parse(request, body.toString('utf8'), done)
    else done(new Vm0Error('INVALID_REQUEST', 'the request body is not UTF-8 text; send binary content as a file'))
  })
}
