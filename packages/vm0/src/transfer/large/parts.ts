import type { Chunk, PatchPart } from '@vm0/contract/client'

/** A piece of the file that is to be: where it is in it, and where on this side, if it is. */
export interface Piece extends Chunk {
  atBytes: number
  /** In the file that is here; undefined when it has to come from the other side. */
  hereBytes: number | undefined
}

/** Where each piece begins, by its digest; of several alike the first. */
function positions(chunks: readonly Chunk[]): Map<string, number> {
  const found = new Map<string, number>()
  let at = 0
  for (const { lengthBytes, digest } of chunks) {
    if (!found.has(digest)) found.set(digest, at)
    at += lengthBytes
  }
  return found
}

/** What makes the other side's file the one that is here, from `fromBytes` on: as few parts as there can be. */
export function partsOf(here: readonly Chunk[], there: readonly Chunk[], fromBytes: number): PatchPart[] {
  const known = positions(there)
  const parts: PatchPart[] = []
  let end = 0
  for (const { lengthBytes, digest } of here) {
    const start = end
    end += lengthBytes
    if (end <= fromBytes) continue
    const arrived = Math.max(0, fromBytes - start)
    const found = known.get(digest)
    const last = parts.at(-1)
    const bytes = lengthBytes - arrived
    if (found === undefined) {
      if (last?.[0] === 'here') last[1] += bytes
      else parts.push(['here', bytes])
    } else if (last?.[0] === 'there' && last[2] + last[1] === found + arrived) last[1] += bytes
    else parts.push(['there', bytes, found + arrived])
  }
  return parts
}

/** The other side's file in pieces, with what is here of it. */
export function piecesOf(there: readonly Chunk[], here: readonly Chunk[]): Piece[] {
  const known = positions(here)
  let at = 0
  return there.map((chunk) => {
    const piece = { ...chunk, atBytes: at, hereBytes: known.get(chunk.digest) }
    at += chunk.lengthBytes
    return piece
  })
}

/** What has to be asked for of some pieces: neighbours as one range. */
export function rangesOf(pieces: readonly Piece[]): [at: number, lengthBytes: number][] {
  const ranges: [number, number][] = []
  for (const { atBytes, lengthBytes, hereBytes } of pieces) {
    if (hereBytes !== undefined) continue
    const last = ranges.at(-1)
    if (last && last[0] + last[1] === atBytes) last[1] += lengthBytes
    else ranges.push([atBytes, lengthBytes])
  }
  return ranges
}
