import { bucketDigestBytes, type Buckets } from '@vm0/contract/client'

/** Times of change (content, then anything) in milliseconds, size in bytes, inode, mode with the kind. */
export const numbersPerRow = 5
export const digestBytes = 32

/**
 * What is known of the entries of a folder, in columns: what is read of a hundred thousand is no object until it is asked for.
 * The row of a folder, by an empty name, and those of what is in it but folders follow each other, sorted by name.
 */
export interface DigestRows {
  /** `numbersPerRow` for each; of a folder only the first and the last, of what is not known to hold still none is a number. */
  numbers: Float64Array
  /** Of each path, as buckets have it. */
  hashes: Uint32Array
  /** The sha256 of each file's content. */
  contents: Buffer
  /** Of all that makes each entry another one. */
  digests: Buffer
  /** What they are in, by path below the root; '' is the root itself. */
  folders: readonly string[]
  /** The row at which each of the folders begins, and then how many rows there are. */
  starts: Uint32Array
  /** Where each of the folders begins in `names`, and then its length. */
  nameStarts: Uint32Array
  /** In UTF-8, each followed by a NUL. */
  names: Buffer
  /** That all the rows made, as long as nothing else was among them. */
  buckets: Buckets | undefined
}

const version = 3
interface Head {
  v: number
  rows: number
  folders: number
  /** These two in bytes. */
  names: number
  paths: number
  buckets: number
}

/** The columns one after the other, those of wide numbers first, behind a line that tells how long they are. */
export function encodeRows(rows: DigestRows): Uint8Array[] {
  const { numbers, hashes, contents, digests, folders, starts, nameStarts, names, buckets } = rows
  const paths = Buffer.from(folders.join('\0'))
  const head: Head = {
    v: version,
    rows: hashes.length,
    folders: folders.length,
    names: names.length,
    paths: paths.length,
    buckets: buckets?.sizes.length ?? 0,
  }
  const line = JSON.stringify(head)
  const width = Math.ceil((line.length + 1) / wideBytes) * wideBytes
  return [
    Buffer.from(`${line.padEnd(width - 1)}\n`),
    ...[numbers, hashes, starts, nameStarts, buckets?.sizes ?? new Uint32Array()].map(bytesOf),
    contents,
    digests,
    buckets?.digests ?? new Uint8Array(),
    names,
    paths,
  ]
}

const wideBytes = Float64Array.BYTES_PER_ELEMENT
const bytesOf = ({ buffer, byteOffset, byteLength }: Float64Array | Uint32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** Throws for what encodeRows has not made. */
export function decodeRows(bytes: Uint8Array): DigestRows {
  // Numbers can't be read from any place in memory.
  const { buffer, byteOffset, length } = bytes.byteOffset % wideBytes === 0 ? bytes : new Uint8Array(bytes)
  let at = bytes.indexOf(10) + 1
  const head = JSON.parse(Buffer.from(buffer, byteOffset, at).toString()) as Head
  if (head.v !== version) throw new RangeError('this is not a list of digests')
  const take = (size: number): [ArrayBufferLike, number] => {
    at += size
    if (!(size >= 0 && at <= length)) throw new RangeError('the list of digests is cut short')
    return [buffer, byteOffset + at - size]
  }
  const wide = (count: number) => new Float64Array(...take(count * wideBytes), count)
  const whole = (count: number) => new Uint32Array(...take(count * Uint32Array.BYTES_PER_ELEMENT), count)
  const raw = (size: number) => Buffer.from(...take(size), size)
  const numbers = wide(head.rows * numbersPerRow)
  const [hashes, starts, nameStarts] = [whole(head.rows), whole(head.folders + 1), whole(head.folders + 1)]
  const sizes = whole(head.buckets)
  const [contents, digests] = [raw(head.rows * digestBytes), raw(head.rows * digestBytes)]
  const bucketDigests = raw(head.buckets * bucketDigestBytes)
  const names = raw(head.names)
  const paths = raw(head.paths).toString()
  const folders = head.folders === 0 ? [] : paths.split('\0')
  if (folders.length !== head.folders || starts[head.folders] !== head.rows)
    throw new RangeError('the list of digests contradicts itself')
  const buckets = head.buckets === 0 ? undefined : { sizes, digests: bucketDigests }
  return { numbers, hashes, contents, digests, folders, starts, nameStarts, names, buckets }
}

/** The names of one folder's rows. */
export function namesIn({ names, nameStarts }: DigestRows, folder: number): string[] {
  const [start = 0, end = 0] = nameStarts.subarray(folder, folder + 2)
  return names.toString('utf8', start, end).split('\0').slice(0, -1)
}

export const noRows: DigestRows = {
  numbers: new Float64Array(),
  hashes: new Uint32Array(),
  contents: Buffer.alloc(0),
  digests: Buffer.alloc(0),
  folders: [],
  starts: new Uint32Array(1),
  nameStarts: new Uint32Array(1),
  names: Buffer.alloc(0),
  buckets: undefined,
}
