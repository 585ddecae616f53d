import * as crypto from 'node:crypto'

/**
 * How two copies of a folder find out what differs between them without telling each other all that is in it. Both put
 * their entries into buckets by path and make a digest of each bucket; the one sends its digests, the other answers with
 * its entries of those buckets that differ. A change costs the digests and a few neighbours of what changed.
 */

export interface FolderEntry {
  /** Below the folder, with slashes. */
  path: string
  kind: 'file' | 'folder' | 'link'
  /** Permission bits; 0 for links. */
  mode: number
  sizeBytes: number
  /** Of a file the sha256 of its content in hex, of a link where it leads, of a folder nothing. */
  content: string
}

/** What comes with a request to compare folders, as its first line. */
export interface FolderComparison {
  v: 1
  /** How many digests follow. */
  buckets: number
  /** What is left out on the answering side, besides what its own files say when `ownRules` is set. */
  rules: FolderRules[]
  ownRules: boolean
}

/** Patterns as in a .gitignore of this folder (below the one that is compared; empty for itself). */
export interface FolderRules {
  folder: string
  text: string
}

/** First and last line of the answer; between them are entries. */
export interface FolderSummary {
  exists: boolean
  /** Entries that are compared. */
  entries: number
  /** Entries that can't be named in text, and are not compared. */
  unnamed: number
  /** A bit for each bucket, set where it differs; in base64. */
  differing: string
}

export const bucketDigestBytes = 16
export const maxBuckets = 65_536
/** Trees with more are sent whole. */
export const maxFolderEntries = 1_000_000
const entriesPerBucket = 6

/** How many buckets make the least traffic for so many entries. */
export function bucketsFor(entries: number): number {
  return Math.min(maxBuckets, 2 ** Math.ceil(Math.log2(Math.max(1, entries / entriesPerBucket))))
}

/** A digest in one call, which is several times cheaper for short texts, where the runtime knows it. */
const digestOf = (text: string): string =>
  typeof crypto.hash === 'function'
    ? crypto.hash('sha256', text, 'base64')
    : crypto.createHash('sha256').update(text).digest('base64')

/** The digest of everything that makes an entry another one. Times don't. */
export const entryDigest = ({ path, kind, mode, content }: Omit<FolderEntry, 'sizeBytes'>): string =>
  digestOf(`${path}\0${kind}\0${mode}\0${content}`)

/** FNV-1a over a path: which bucket it belongs to. */
export function bucketOf(path: string, buckets: number): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < path.length; index++) hash = Math.imul(hash ^ path.charCodeAt(index), 0x01000193)
  return (hash >>> 0) % buckets
}

/** The digests of all buckets, one after the other; in which order entries come doesn't matter. */
export function bucketDigests(entries: readonly { path: string; digest: string }[], buckets: number): Uint8Array {
  // Sorted by bucket by counting: a list for each of many thousand would cost more than all of their digests.
  const bucketOfEntry = Uint32Array.from(entries, ({ path }) => bucketOf(path, buckets))
  const ends = new Uint32Array(buckets + 1)
  for (const bucket of bucketOfEntry) ends[bucket + 1]! += 1
  for (let bucket = 0; bucket < buckets; bucket++) ends[bucket + 1]! += ends[bucket] as number
  const places = ends.slice()
  const sorted: string[] = Array.from({ length: entries.length })
  for (let index = 0; index < entries.length; index++)
    sorted[places[bucketOfEntry[index] as number]!++] = entries[index]!.digest
  const result = Buffer.alloc(buckets * bucketDigestBytes)
  for (let bucket = 0; bucket < buckets; bucket++) {
    const [start, end] = [ends[bucket] as number, ends[bucket + 1] as number]
    if (start === end) continue
    const digests = sorted.slice(start, end).toSorted()
    result.write(digestOf(digests.join('')).slice(0, 24), bucket * bucketDigestBytes, bucketDigestBytes, 'base64')
  }
  return result
}

/** Which buckets differ: a bit for each. */
export function differingBuckets(a: Uint8Array, b: Uint8Array): Uint8Array {
  const buckets = a.length / bucketDigestBytes
  const bits = new Uint8Array(Math.ceil(buckets / 8))
  for (let index = 0; index < buckets; index++)
    for (let at = index * bucketDigestBytes; at < (index + 1) * bucketDigestBytes; at++) {
      if (a[at] === b[at]) continue
      bits[index >> 3]! |= 1 << (index & 7)
      break
    }
  return bits
}

export const isDiffering = (bits: Uint8Array, bucket: number): boolean =>
  (bits[bucket >> 3]! & (1 << (bucket & 7))) !== 0

type EntryLine = [path: string, kind: FolderEntry['kind'], mode: number, sizeBytes: number, content: string]

export const encodeEntry = ({ path, kind, mode, sizeBytes, content }: FolderEntry): string =>
  `${JSON.stringify([path, kind, mode, sizeBytes, content] satisfies EntryLine)}\n`

export function decodeEntry([path, kind, mode, sizeBytes, content]: EntryLine): FolderEntry {
  return { path, kind, mode, sizeBytes, content }
}
