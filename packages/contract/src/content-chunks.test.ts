import fc from 'fast-check'
import { expect, test } from 'vitest'
import { chunkBytes, ContentCutter, isChunk, type Chunk } from './content-chunks.js'

/** Bytes that look random, from a seed. */
function bytesFrom(seed: number, length: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = seed | 1
  for (let index = 0; index < words.length; index++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9
    words[index] = state ^ (state >>> 12)
  }
  return Buffer.from(words.buffer, 0, length)
}

function cut(bytes: Uint8Array, pieceBytes = bytes.length || 1): Chunk[] {
  const cutter = new ContentCutter()
  const chunks: Chunk[] = []
  for (let at = 0; at < bytes.length; at += pieceBytes) chunks.push(...cutter.push(bytes.subarray(at, at + pieceBytes)))
  return [...chunks, ...cutter.end()]
}

const edit = fc.record({
  do: fc.constantFrom('insert' as const, 'delete' as const, 'overwrite' as const, 'append' as const),
  where: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 50_000 }),
  seed: fc.integer(),
})

function edited(
  bytes: Buffer,
  { do: what, where, length, seed }: typeof edit extends fc.Arbitrary<infer T> ? T : never,
) {
  const at = what === 'append' ? bytes.length : Math.floor(where * bytes.length)
  const added = what === 'delete' ? Buffer.alloc(0) : bytesFrom(seed, length)
  const removed = what === 'insert' || what === 'append' ? 0 : length
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)])
}

const digestsOf = (chunks: readonly Chunk[]): Set<string> => new Set(chunks.map(({ digest }) => digest))

test('pieces are the bytes, of bounded length, however the bytes come in', () => {
  const property = fc.property(
    fc.integer(),
    fc.integer({ min: 0, max: 3_000_000 }),
    fc.integer({ min: 1000, max: 2_000_000 }),
    (seed, length, pieceBytes) => {
      const bytes = bytesFrom(seed, length)
      const chunks = cut(bytes, pieceBytes)
      expect(chunks).toEqual(cut(bytes))
      let at = 0
      for (const [index, chunk] of chunks.entries()) {
        expect(isChunk(bytes.subarray(at, at + chunk.lengthBytes), chunk)).toBe(true)
        expect(chunk.lengthBytes).toBeLessThanOrEqual(chunkBytes.max)
        if (index < chunks.length - 1) expect(chunk.lengthBytes).toBeGreaterThanOrEqual(chunkBytes.min)
        at += chunk.lengthBytes
      }
      expect(at).toBe(length)
    },
  )
  fc.assert(property, { numRuns: 12 })
})

test('an edit anywhere leaves all pieces but a few as they were', () => {
  const before = bytesFrom(7, 8_000_000)
  const known = digestsOf(cut(before))
  const property = fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
    const others = cut(edits.reduce(edited, before)).filter(({ digest }) => !known.has(digest))
    // An edit touches the piece it is in, and the one behind it where the cut between them is gone; bytes put in make another.
    expect(others.length).toBeLessThanOrEqual(4 * edits.length)
  })
  fc.assert(property, { numRuns: 15 })
})

test('pieces of random bytes are about as long as they should be, and those of zeros as long as they may be', () => {
  const chunks = cut(bytesFrom(3, 32_000_000))
  const average = 32_000_000 / chunks.length
  expect(average).toBeGreaterThan(chunkBytes.average * 0.7)
  expect(average).toBeLessThan(chunkBytes.average * 1.6)
  expect(cut(Buffer.alloc(3 * chunkBytes.max)).map(({ lengthBytes }) => lengthBytes)).toEqual([
    chunkBytes.max,
    chunkBytes.max,
    chunkBytes.max,
  ])
})

test('where bytes are cut is part of the format', () => {
  expect(cut(bytesFrom(11, 1_500_000)).map(({ lengthBytes }) => lengthBytes)).toMatchInlineSnapshot(`
    [
      316751,
      322333,
      266929,
      411474,
      182513,
    ]
  `)
})
