import type { Chunk } from '@vm0/contract/client'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { partsOf, piecesOf, rangesOf } from './parts.js'

/** A file of pieces, each the letter that its digest is, as often as it is long. */
const piece = fc
  .record({ letter: fc.constantFrom('a', 'b', 'c', 'd', 'e'), more: fc.constantFrom(1, 2) })
  .map(({ letter, more }): Chunk => ({ digest: `${letter}${more}`, lengthBytes: 3 * more + letter.charCodeAt(0) - 97 }))
const file = fc.array(piece, { maxLength: 12 })
const textOf = (chunks: readonly Chunk[]): string =>
  chunks.map(({ digest, lengthBytes }) => `${digest}${'.'.repeat(lengthBytes - 2)}`).join('')

test('parts make the file that is here from the one that is there, wherever they begin', () => {
  const property = fc.property(file, file, fc.nat(), (here, there, some) => {
    const [mine, theirs] = [textOf(here), textOf(there)]
    const fromBytes = mine.length === 0 ? 0 : some % (mine.length + 1)
    let made = mine.slice(0, fromBytes)
    let at = fromBytes
    const parts = partsOf(here, there, fromBytes)
    for (const [from, bytes, position = 0] of parts) {
      expect(bytes).toBeGreaterThan(0)
      made += from === 'here' ? mine.slice(at, at + bytes) : theirs.slice(position, position + bytes)
      at += bytes
    }
    expect(made).toBe(mine)
    // What the other side has doesn't move.
    const known = new Set(there.map(({ digest }) => digest))
    if (here.every(({ digest }) => known.has(digest))) expect(parts.every(([from]) => from === 'there')).toBe(true)
    for (const [index, [from]] of parts.entries()) if (from === 'here') expect(parts[index + 1]?.[0]).not.toBe('here')
  })
  fc.assert(property, { numRuns: 500 })
})

test('pieces and ranges make the file that is there from the one that is here', () => {
  const property = fc.property(file, file, fc.nat(), (here, there, some) => {
    const [mine, theirs] = [textOf(here), textOf(there)]
    const all = piecesOf(there, here)
    const done = all.length === 0 ? 0 : some % (all.length + 1)
    let answer = rangesOf(all.slice(done))
      .map(([at, bytes]) => theirs.slice(at, at + bytes))
      .join('')
    let made = textOf(there.slice(0, done))
    for (const { hereBytes, lengthBytes } of all.slice(done)) {
      if (hereBytes !== undefined) made += mine.slice(hereBytes, hereBytes + lengthBytes)
      else {
        made += answer.slice(0, lengthBytes)
        answer = answer.slice(lengthBytes)
      }
    }
    expect([made, answer]).toEqual([theirs, ''])
  })
  fc.assert(property, { numRuns: 500 })
})

test('a file that is as it was is one part, and no range', () => {
  const same: Chunk[] = [
    { digest: 'a', lengthBytes: 3 },
    { digest: 'b', lengthBytes: 5 },
  ]
  expect(partsOf(same, same, 0)).toEqual([['there', 8, 0]])
  expect(partsOf(same, same, 4)).toEqual([['there', 4, 4]])
  expect(rangesOf(piecesOf(same, same))).toEqual([])
})
