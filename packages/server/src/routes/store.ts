import {
  dropKeyRequestSchema,
  fsckRequestSchema,
  gcRequestSchema,
  resealRequestSchema,
  type EncryptionOutput,
  type FsckOutput,
  type GcOutput,
  type UpkeepCall,
} from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { answerLines } from './work-lines.js'

/** The care of the store, which every project shares. It takes as long as the store is large: the answer is NDJSON. */
export function storeRoutes(app: App, { options: { upkeep } }: Parts): void {
  const config = { scope: 'installation' as const }
  app.post('/store/fsck', { schema: { body: fsckRequestSchema }, config }, (request, reply) =>
    answerLines<FsckOutput>(reply, async (call) => ({
      type: 'checked',
      report: await upkeep.fsck(request.body, upkeepCall(call)),
    })),
  )
  app.post('/store/gc', { schema: { body: gcRequestSchema }, config }, (request, reply) =>
    answerLines<GcOutput>(reply, async ({ signal }) => ({
      type: 'collected',
      report: await upkeep.gc(request.body, { onProgress: () => undefined, signal }),
    })),
  )
  app.post('/store/encryption', { schema: { body: z.strictObject({}) }, config }, (_request, reply) =>
    answerLines<EncryptionOutput>(reply, async (call) => ({
      type: 'keys',
      report: await upkeep.encryption(upkeepCall(call)),
    })),
  )
  app.post('/store/encryption/reseal', { schema: { body: resealRequestSchema }, config }, (request, reply) =>
    answerLines<EncryptionOutput>(reply, async (call) => ({
      type: 'resealed',
      report: await upkeep.reseal(request.body, upkeepCall(call)),
    })),
  )
  app.post('/store/encryption/drop', { schema: { body: dropKeyRequestSchema }, config }, (request, reply) =>
    answerLines<EncryptionOutput>(reply, async (call) => {
      await upkeep.dropKey(request.body.id, upkeepCall(call))
      return { type: 'dropped', id: request.body.id }
    }),
  )
}

const upkeepCall = ({
  say,
  signal,
}: {
  say(line: { type: 'progress'; message: string }): Promise<void>
  signal: AbortSignal
}): UpkeepCall => ({ onProgress: (message) => void say({ type: 'progress', message }), signal })
