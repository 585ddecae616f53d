import * as crypto from 'node:crypto'

/**
 * Cuts bytes where their content says so (FastCDC, normalised): two versions of a file have the same pieces but around what
 * was changed, also when something was put in at the front. Both sides of a transfer cut alike.
 */

/** Less than a list of 1 GB's pieces and one piece weigh together is not to be had: about the root of size × bytes per line. */
export const chunkBytes = { min: 64 * 1024, average: 256 * 1024, max: 1024 ** 2 }

export interface Chunk {
  lengthBytes: number
  /** The sha256 of the bytes, in base64. */
  digest: string
}

/** Files from this size on move in pieces, where the other side has something at their place. */
export const cutFromBytes = 4 * 1024 ** 2

/** Bits of the window's hash that must be 0 for a cut: more of them before the average length, fewer after it. */
const strict = 0xffff_f000 | 0
const lax = 0xffff_0000 | 0

/** A random number for each byte. It is part of the format: xorshift32 from a fixed seed. */
const gear = new Int32Array(256)
for (let index = 0, state = 0x2545f491; index < gear.length; index++) {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  gear[index] = state
}

const digestOf = (bytes: Uint8Array): string =>
  typeof crypto.hash === 'function'
    ? crypto.hash('sha256', bytes, 'base64')
    : crypto.createHash('sha256').update(bytes).digest('base64')

/** The pieces of a stream of bytes, in order. Holds one piece at a time. */
export class ContentCutter {
  private readonly piece = new Uint8Array(chunkBytes.max)
  private filled = 0
  /** How far the piece was looked at. */
  private seen = 0
  private hash = 0

  /** Where the piece ends; 0 when more bytes are needed to tell. */
  private findEnd(): number {
    const { min, average, max } = chunkBytes
    const { piece, filled } = this
    let hash = this.hash
    let at = Math.max(this.seen, min)
    const normal = Math.min(filled, average)
    for (; at < normal; at++) {
      hash = ((hash << 1) + (gear[piece[at] as number] as number)) | 0
      if ((hash & strict) === 0) return at + 1
    }
    for (; at < filled; at++) {
      hash = ((hash << 1) + (gear[piece[at] as number] as number)) | 0
      if ((hash & lax) === 0) return at + 1
    }
    this.hash = hash
    this.seen = at
    return filled === max ? max : 0
  }

  private cut(lengthBytes: number): Chunk {
    const digest = digestOf(this.piece.subarray(0, lengthBytes))
    this.piece.copyWithin(0, lengthBytes, this.filled)
    this.filled -= lengthBytes
    this.seen = 0
    this.hash = 0
    return { lengthBytes, digest }
  }

  /** The pieces that end within these bytes. */
  *push(bytes: Uint8Array): Generator<Chunk> {
    for (let at = 0; at < bytes.length;) {
      const taken = Math.min(bytes.length - at, chunkBytes.max - this.filled)
      this.piece.set(bytes.subarray(at, at + taken), this.filled)
      this.filled += taken
      at += taken
      for (let end = this.findEnd(); end > 0; end = this.findEnd()) yield this.cut(end)
    }
  }

  /** What is left when there are no more bytes. */
  *end(): Generator<Chunk> {
    if (this.filled > 0) yield this.cut(this.filled)
  }
}

export async function* chunksOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Chunk> {
  const cutter = new ContentCutter()
  for await (const bytes of source) yield* cutter.push(bytes)
  yield* cutter.end()
}

/** Whether bytes are those that a piece was made of. */
export const isChunk = (bytes: Uint8Array, { lengthBytes, digest }: Chunk): boolean =>
  bytes.length === lengthBytes && digestOf(bytes) === digest
