import { blockSize, fileTypeMask, fileTypes } from './format.js'

export interface DirectoryEntry {
  /** A latin1 view of the name's bytes. */
  name: string
  inode: number
  mode: number
}

const entrySize = 12
const typeCodes = new Map<number, number>([
  [fileTypes.regular, 1],
  [fileTypes.directory, 2],
  [fileTypes.character, 3],
  [fileTypes.block, 4],
  [fileTypes.fifo, 5],
  [fileTypes.socket, 6],
  [fileTypes.symlink, 7],
])

const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** How many entries each block takes, for names in order. */
function* blocksOf(names: readonly string[]): Generator<{ from: number; to: number; bytes: number }> {
  let from = 0
  let bytes = 0
  for (const [index, name] of names.entries()) {
    const size = entrySize + name.length
    if (bytes + size > blockSize) {
      yield { from, to: index, bytes }
      from = index
      bytes = 0
    }
    bytes += size
  }
  yield { from, to: names.length, bytes }
}

/** Bytes of a directory with these names, `.` and `..` apart. */
export function directorySize(names: readonly string[]): number {
  let size = 0
  let last = 0
  for (const { bytes } of blocksOf(['.', '..', ...names].toSorted(byName))) {
    size += blockSize
    last = bytes
  }
  return size - blockSize + last
}

/** The data of a directory: `entries` with `.` and `..`, in the order of their names' bytes. */
export function encodeDirectory(entries: readonly DirectoryEntry[]): Buffer {
  const sorted = entries.toSorted((a, b) => byName(a.name, b.name))
  const blocks = [...blocksOf(sorted.map(({ name }) => name))]
  const data = Buffer.alloc((blocks.length - 1) * blockSize + (blocks.at(-1)?.bytes ?? 0))
  for (const [number, { from, to }] of blocks.entries()) {
    const start = number * blockSize
    let nameAt = (to - from) * entrySize
    for (let index = from; index < to; index++) {
      const { name, inode, mode } = sorted[index] as DirectoryEntry
      const at = start + (index - from) * entrySize
      data.writeBigUInt64LE(BigInt(inode), at)
      data.writeUInt16LE(nameAt, at + 8)
      data.writeUInt8(typeCodes.get(mode & fileTypeMask) ?? 0, at + 10)
      nameAt += data.write(name, start + nameAt, 'latin1')
    }
  }
  return data
}
