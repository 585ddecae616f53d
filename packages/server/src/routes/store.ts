import { PassThrough, Readable } from 'node:stream'
import {
  dropKeyRequestSchema,
  fsckRequestSchema,
  gcRequestSchema,
  resealRequestSchema,
  toVm0Error,
  type EncryptionOutput,
  type FsckOutput,
  type GcOutput,
  type UpkeepCall,
} from '@vm0/contract'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { withHeartbeat } from './heartbeat.js'

const heartbeatMs = 15_000

/** The care of the store, which every project shares. It takes as long as the store is large: the answer is NDJSON. */
export function storeRoutes(app: App, { options: { upkeep } }: Parts): void {
  const config = { scope: 'installation' as const }
  app.post('/store/fsck', { schema: { body: fsckRequestSchema }, config }, (request, reply) =>
    answer<FsckOutput>(reply, async (call) => ({ type: 'checked', report: await upkeep.fsck(request.body, call) })),
  )
  app.post('/store/gc', { schema: { body: gcRequestSchema }, config }, (request, reply) =>
    answer<GcOutput>(reply, async (call) => ({ type: 'collected', report: await upkeep.gc(request.body, call) })),
  )
  app.post('/store/encryption', { schema: { body: z.strictObject({}) }, config }, (_request, reply) =>
    answer<EncryptionOutput>(reply, async (call) => ({ type: 'keys', report: await upkeep.encryption(call) })),
  )
  app.post('/store/encryption/reseal', { schema: { body: resealRequestSchema }, config }, (request, reply) =>
    answer<EncryptionOutput>(reply, async (call) => ({
      type: 'resealed',
      report: await upkeep.reseal(request.body, call),
    })),
  )
  app.post('/store/encryption/drop', { schema: { body: dropKeyRequestSchema }, config }, (request, reply) =>
    answer<EncryptionOutput>(reply, async (call) => {
      await upkeep.dropKey(request.body.id, call)
      return { type: 'dropped', id: request.body.id }
    }),
  )
}

/** What the work tells while it goes on, then what it ends with; it ends early when the client leaves. */
function answer<Line extends { type: string }>(
  reply: FastifyReply,
  work: (call: UpkeepCall) => Promise<Line>,
): FastifyReply {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  const lines = new PassThrough({ encoding: 'utf8' })
  const say = (line: object): void => {
    lines.write(`${JSON.stringify(line)}\n`)
  }
  const all = async (): Promise<void> => {
    try {
      say(await work({ onProgress: (message) => say({ type: 'progress', message }), signal: gone.signal }))
    } catch (thrown) {
      const { code, message, hint } = toVm0Error(thrown)
      say({ type: 'error', code, message, hint })
    } finally {
      lines.end()
    }
  }
  void all()
  const beating = withHeartbeat(lines[Symbol.asyncIterator]() as AsyncIterator<string>, heartbeatMs)
  return reply.type('application/x-ndjson').send(Readable.from(beating))
}
