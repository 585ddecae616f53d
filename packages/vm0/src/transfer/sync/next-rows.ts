import type { Buckets } from '@vm0/contract/client'
import { digestBytes, numbersPerRow, type DigestRows } from './digest-rows.js'
import type { FreshEntry, Listing } from './listing.js'
import type { WalkedFolder } from './walked-names.js'

/** What is known for the next time: rows of what is as it was are copied, as many at once as follow each other. */
export function rowsOf(listing: Listing, buckets: Buckets | undefined): DigestRows | undefined {
  const walked = listing.walked()
  if (!walked) return undefined
  const { places, folders } = walked
  const { length } = places
  const known = listing.rows.columns
  const numbers = new Float64Array(length * numbersPerRow)
  const hashes = new Uint32Array(length)
  const [contents, digests] = [Buffer.alloc(length * digestBytes), Buffer.alloc(length * digestBytes)]
  const copy = (at: number, row: number, count: number): void => {
    numbers.set(known.numbers.subarray(row * numbersPerRow, (row + count) * numbersPerRow), at * numbersPerRow)
    hashes.set(known.hashes.subarray(row, row + count), at)
    known.contents.copy(contents, at * digestBytes, row * digestBytes, (row + count) * digestBytes)
    known.digests.copy(digests, at * digestBytes, row * digestBytes, (row + count) * digestBytes)
  }
  for (let at = 0; at < length;) {
    const place = places[at] as number
    let count = 1
    if (place >= 0) {
      while (places[at + count] === place + count) count += 1
      copy(at, place, count)
    } else {
      const entry = listing.fresh[-place - 1] as FreshEntry
      numbers.set(numbersOf(entry), at * numbersPerRow)
      hashes[at] = entry.hash
      if (entry.kind === 'file') contents.write(entry.content, at * digestBytes, digestBytes, 'hex')
      digests.write(entry.digest, at * digestBytes, digestBytes, 'base64')
    }
    at += count
  }
  const starts = Uint32Array.from([...folders.map(({ start }) => start), length])
  return {
    numbers,
    hashes,
    contents,
    digests,
    folders: folders.map(({ folder }) => folder),
    starts,
    ...namesOf(folders, known),
    buckets,
  }
}

/** What holds still tells when it changes; what doesn't is equal to nothing. */
function numbersOf({ kind, local: { info }, isSettled }: FreshEntry): number[] {
  if (kind === 'folder') return [info.mtimeMs, 0, 0, 0, info.mode]
  return isSettled
    ? [info.mtimeMs, info.ctimeMs, info.size, info.ino, info.mode]
    : Array(numbersPerRow).fill(Number.NaN)
}

function namesOf(folders: readonly WalkedFolder[], known: DigestRows): Pick<DigestRows, 'names' | 'nameStarts'> {
  const nameStarts = new Uint32Array(folders.length + 1)
  const parts: Buffer[] = []
  for (const [index, { names }] of folders.entries()) {
    const part =
      typeof names === 'number'
        ? known.names.subarray(known.nameStarts[names], known.nameStarts[names + 1])
        : Buffer.from(names.map((name) => `${name}\0`).join(''))
    parts.push(part)
    nameStarts[index + 1] = (nameStarts[index] as number) + part.length
  }
  return { names: Buffer.concat(parts), nameStarts }
}
