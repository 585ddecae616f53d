/** Times of change (content, then anything) in milliseconds, size in bytes, inode. */
export type RowNumbers = readonly [number, number, number, number]

/** What is known of one file. */
export interface DigestRow {
  path: string
  numbers: RowNumbers
  /** The sha256 of its content, in hex. */
  content: string
  /** Of all that makes the entry another one, in base64. */
  digest: string
}

/** Rows in columns: what is read of a hundred thousand is no object until it is asked for. */
export interface DigestRows {
  length: number
  paths: readonly string[]
  isSame(index: number, numbers: RowNumbers): boolean
  digests(index: number): { content: string; digest: string }
  row(index: number): DigestRow
}

const version = 2
const numbersPerRow = 4
const rowBytes = numbersPerRow * Float64Array.BYTES_PER_ELEMENT
const [contentLength, digestLength] = [64, 44]

/** A line that tells how many there are; then the numbers, the contents, the digests, and the paths, each column as one. */
export function encodeRows(rows: readonly DigestRow[]): Buffer {
  const numbers = new Float64Array(rows.length * numbersPerRow)
  const [contents, digests, paths]: [string[], string[], string[]] = [[], [], []]
  for (const [index, { path, numbers: own, content, digest }] of rows.entries()) {
    if (content.length !== contentLength || digest.length !== digestLength) throw new RangeError(`no digest: ${digest}`)
    numbers.set(own, index * numbersPerRow)
    contents.push(content)
    digests.push(digest)
    paths.push(path)
  }
  return Buffer.concat([
    Buffer.from(`${JSON.stringify({ v: version, rows: rows.length })}\n`),
    new Uint8Array(numbers.buffer),
    Buffer.from(contents.join(''), 'latin1'),
    Buffer.from(digests.join(''), 'latin1'),
    Buffer.from(paths.join('\0')),
  ])
}

/** Throws for what encodeRows has not made. */
export function decodeRows(bytes: Buffer): DigestRows {
  const start = bytes.indexOf(10) + 1
  const head = JSON.parse(bytes.toString('utf8', 0, start)) as { v: number; rows: number }
  const contentsAt = start + head.rows * rowBytes
  const digestsAt = contentsAt + head.rows * contentLength
  const pathsAt = digestsAt + head.rows * digestLength
  // Copied: its place in the file is not one where numbers may begin.
  const numbers = new Float64Array(new Uint8Array(bytes.subarray(start, contentsAt)).buffer)
  const contents = bytes.toString('latin1', contentsAt, digestsAt)
  const digests = bytes.toString('latin1', digestsAt, pathsAt)
  const paths = head.rows === 0 ? [] : bytes.toString('utf8', pathsAt).split('\0')
  if (head.v !== version || paths.length !== head.rows) throw new RangeError('this is not a list of digests')
  const digestsOf = (index: number): { content: string; digest: string } => ({
    content: contents.slice(index * contentLength, (index + 1) * contentLength),
    digest: digests.slice(index * digestLength, (index + 1) * digestLength),
  })
  const numbersOf = (index: number) => [...numbers.subarray(index * numbersPerRow, (index + 1) * numbersPerRow)]
  return {
    length: head.rows,
    paths,
    isSame(index, other) {
      const at = index * numbersPerRow
      for (let column = 0; column < numbersPerRow; column++) if (numbers[at + column] !== other[column]) return false
      return true
    },
    digests: digestsOf,
    row: (index) => ({
      path: paths[index] as string,
      numbers: numbersOf(index) as unknown as RowNumbers,
      ...digestsOf(index),
    }),
  }
}

export const noRows = decodeRows(encodeRows([]))
