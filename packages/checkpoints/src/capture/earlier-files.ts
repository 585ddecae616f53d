import { blockSize, fileTypeMask, fileTypes, type Device } from '../erofs/format.js'
import type { Elsewhere } from '../erofs/image.js'
import { OpenImages, type ImageFiles } from '../erofs/open-images.js'
import { isDirectory, type ErofsReader, type ImageInode } from '../erofs/reader.js'

export interface EarlierLayer {
  files: ImageFiles
  /** Of the image, and of those that have blocks of it, in the order of its table. */
  devices: readonly Device[]
}

/** Smaller files are copied whole: a map of blocks and a look at what was there pay only past it. */
const minBlocks = 16
const windowBytes = 256 * blockSize

interface Earlier {
  reader: ErofsReader
  inode: ImageInode
  devices: readonly Device[]
}

/** The files of earlier layers, in which blocks of a file that was changed are found again. */
export class EarlierFiles {
  private readonly images = new OpenImages()
  private readonly opened = new Map<EarlierLayer, ErofsReader>()
  private windows: { own: Buffer; other: Buffer } | undefined

  constructor(private readonly layers: readonly EarlierLayer[]) {}

  /** The ranges of a file that what was at its path has at the same place; undefined where that is little. `path` is asked for large files only. */
  blocksOf(
    path: () => string,
    size: number,
    read: (buffer: Buffer, offset: number, length: number, position: number) => number,
  ): Elsewhere[] | undefined {
    const earlier = size < minBlocks * blockSize || this.layers.length === 0 ? undefined : this.find(path())
    if (!earlier) return undefined
    this.windows ??= { own: Buffer.alloc(windowBytes), other: Buffer.alloc(windowBytes) }
    const { own, other } = this.windows
    const found: Elsewhere[] = []
    let blocks = 0
    // The end of a file that fills no block lies elsewhere in the other image than where it must be in this one.
    const end = Math.floor(Math.min(size, earlier.inode.size) / blockSize) * blockSize
    for (let position = 0; position < end; position += windowBytes) {
      const length = Math.min(windowBytes, end - position)
      if (readFully(read, own, length, position) < length) break
      earlier.reader.read(earlier.inode, other, 0, length, position)
      for (let at = 0; at < length; at += blockSize) {
        if (own.compare(other, at, at + blockSize, at, at + blockSize) !== 0) continue
        blocks += extend(found, earlier, position + at)
      }
    }
    return blocks < minBlocks ? undefined : found
  }

  close(): void {
    this.images.close()
  }

  /** What the topmost layer that has the path has there, where it is a file. */
  private find(path: string): Earlier | undefined {
    const names = path.split('/')
    for (const layer of this.layers) {
      const reader = this.reader(layer)
      const inode = lookUp(reader, names)
      if (inode)
        return (inode.mode & fileTypeMask) === fileTypes.regular ? { reader, inode, devices: layer.devices } : undefined
    }
    return undefined
  }

  private reader(layer: EarlierLayer): ErofsReader {
    const known = this.opened.get(layer)
    if (known) return known
    const reader = this.images.open(layer.files)
    this.opened.set(layer, reader)
    return reader
  }
}

function lookUp(reader: ErofsReader, names: readonly string[]): ImageInode | undefined {
  let inode = reader.inode(reader.root)
  for (const name of names) {
    const entry = isDirectory(inode) ? reader.entry(inode, name) : undefined
    if (!entry) return undefined
    inode = reader.inode(entry.inode)
  }
  return inode
}

/** Adds the block at a position of the file; returns how many were added: none where it is a hole. */
function extend(found: Elsewhere[], { reader, inode, devices }: Earlier, position: number): number {
  const { from, device: index } = reader.locate(inode, position)
  const device = devices[index]
  // mkfs.erofs puts ends of files into blocks of their own accord: only whole blocks can be shared.
  if (from === undefined || device === undefined || from % blockSize !== 0) return 0
  const block = from / blockSize
  const last = found.at(-1)
  const isNext =
    last?.end === position &&
    last.device.digest === device.digest &&
    last.block + (position - last.start) / blockSize === block
  if (last && isNext) last.end += blockSize
  else found.push({ start: position, end: position + blockSize, device, block })
  return 1
}

function readFully(
  read: (buffer: Buffer, offset: number, length: number, position: number) => number,
  buffer: Buffer,
  length: number,
  position: number,
): number {
  let done = 0
  while (done < length) {
    const count = read(buffer, done, length - done, position + done)
    if (count === 0) return done
    done += count
  }
  return done
}
