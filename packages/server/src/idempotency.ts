import { createHash } from 'node:crypto'
import { idSchema, Vm0Error } from '@vm0/contract'
import type { FastifyRequest } from 'fastify'

/**
 * The id that a request gives to what it makes: that of its body, or one that follows from its `Idempotency-Key`. A UUID
 * is taken as it is; of any other text the same text gives the same id.
 */
export function requestedId(request: FastifyRequest, bodyId: string | undefined): string | undefined {
  const given = request.headers['idempotency-key']
  if (given === undefined) return bodyId
  const key = String(given).replace(/^"(.*)"$/, '$1')
  if (!/^[\x20-\x7e]{1,255}$/.test(key))
    throw new Vm0Error('INVALID_REQUEST', 'Idempotency-Key: expected 1 to 255 printable ASCII characters')
  const id = idSchema.safeParse(key.toLowerCase()).data ?? idFromText(key)
  if (bodyId !== undefined && bodyId.toLowerCase() !== id)
    throw new Vm0Error('INVALID_REQUEST', "id: expected the Idempotency-Key's, or only one of the two")
  return id
}

/** A UUID of version 8: the first bits of the text's sha256. */
function idFromText(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16)
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
