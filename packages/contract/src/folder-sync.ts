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

/** FNV-1a over a path, 32 bits without sign: what decides which bucket it belongs to. */
export function pathHash(path: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < path.length; index++) hash = Math.imul(hash ^ path.charCodeAt(index), 0x01000193)
  return hash >>> 0
}

export const bucketOf = (path: string, buckets: number): number => pathHash(path) % buckets

/** Entries by their places, of which buckets are made. */
export interface BucketMembers {
  length: number
  /** `pathHash` of the entry's path. */
  hash(index: number): number
  /** `entryDigest` of the entry. */
  digest(index: number): string
  /** Whether it was one of those, and the same, that `before` was made of. Is asked once for each. */
  wasMember(index: number): boolean
}

/** How many entries each bucket has, and the digests of all buckets, one after the other. */
export interface Buckets {
  sizes: Uint32Array
  digests: Uint8Array
}

/**
 * Puts entries into buckets; in which order they come doesn't matter. A bucket of which each entry was in it before, and
 * that has as many as before, keeps its digest: what was nearly the same before costs nearly nothing.
 */
export function bucketsOf(members: BucketMembers, count: number, before?: Buckets): Buckets {
  const kept = before?.sizes.length === count ? before : undefined
  const sizes = new Uint32Array(count)
  const isNew = new Uint8Array(count)
  for (let index = 0; index < members.length; index++) {
    const bucket = members.hash(index) % count
    sizes[bucket]! += 1
    if (!members.wasMember(index) || !kept) isNew[bucket] = 1
  }
  if (kept) for (let bucket = 0; bucket < count; bucket++) if (sizes[bucket] !== kept.sizes[bucket]) isNew[bucket] = 1
  // Sorted by bucket by counting: a list for each of many thousand would cost more than all of their digests.
  const ends = new Uint32Array(count)
  let end = 0
  for (let bucket = 0; bucket < count; bucket++) {
    ends[bucket] = end
    if (isNew[bucket] === 1) end += sizes[bucket] as number
  }
  const sorted: string[] = Array.from({ length: end })
  for (let index = 0; index < members.length; index++) {
    const bucket = members.hash(index) % count
    if (isNew[bucket] === 1) sorted[ends[bucket]!++] = members.digest(index)
  }
  const digests = Buffer.alloc(count * bucketDigestBytes)
  if (kept) digests.set(kept.digests)
  for (let bucket = 0; bucket < count; bucket++) {
    if (isNew[bucket] === 0) continue
    const [at, size] = [bucket * bucketDigestBytes, sizes[bucket] as number]
    const own = sorted.slice((ends[bucket] as number) - size, ends[bucket]).toSorted()
    if (size === 0) digests.fill(0, at, at + bucketDigestBytes)
    else digests.write(digestOf(own.join('')).slice(0, 24), at, bucketDigestBytes, 'base64')
  }
  return { sizes, digests }
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
