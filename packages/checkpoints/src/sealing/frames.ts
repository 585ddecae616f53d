import { createCipheriv, createDecipheriv, type CipherGCM, type DecipherGCM } from 'node:crypto'

const frameSize = 65_536
const tagSize = 16

/** Frames are numbered, and the last one is marked: none can be left out, moved or cut off unnoticed. */
function nonce(number: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeBigUInt64BE(BigInt(number))
  bytes[11] = last ? 1 : 0
  return bytes
}

/** AES-256-GCM in frames, so that any length needs little memory. The key must be one that seals nothing else. */
export function sealFrames(key: Buffer, header: Buffer) {
  return async function* (source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
    for await (const { number, last, bytes } of frames(source, frameSize)) {
      const cipher: CipherGCM = createCipheriv('aes-256-gcm', key, nonce(number, last)).setAAD(header)
      yield Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
    }
  }
}

export function openFrames(key: Buffer, header: Buffer) {
  return async function* (source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
    for await (const { number, last, bytes } of frames(source, frameSize + tagSize)) {
      if (bytes.length < tagSize) throw new Error('it ends in the middle of a frame')
      const end = bytes.length - tagSize
      const decipher: DecipherGCM = createDecipheriv('aes-256-gcm', key, nonce(number, last))
      decipher.setAAD(header).setAuthTag(bytes.subarray(end))
      const plain = decipher.update(bytes.subarray(0, end))
      // Checks the tag, and has no bytes of its own.
      decipher.final()
      yield plain
    }
  }
}

/**
 * Cuts a stream into pieces of one size; the last one may be shorter, and is empty for an empty stream. Of a chunk nothing is kept
 * once the next one is asked for: its memory may be used again.
 */
async function* frames(source: AsyncIterable<Uint8Array>, size: number) {
  let number = 0
  let held = Buffer.alloc(0)
  for await (const chunk of source) {
    let at = 0
    if (held.length > 0) {
      at = Math.min(size - held.length, chunk.length)
      held = Buffer.concat([held, chunk.subarray(0, at)])
      // A whole frame is kept back until it is known not to be the last.
      if (at === chunk.length) continue
      yield { number: number++, last: false, bytes: held }
    }
    for (; chunk.length - at > size; at += size)
      yield { number: number++, last: false, bytes: chunk.subarray(at, at + size) }
    held = Buffer.from(chunk.subarray(at))
  }
  yield { number, last: true, bytes: held }
}
