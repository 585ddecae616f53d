import { readSync } from 'node:fs'
import {
  blockSize,
  chunkIndexes,
  fileTypeMask,
  fileTypes,
  holeAddress,
  layouts,
  slotSize,
  superblockOffset,
  xattrPrefixes,
} from './format.js'

export interface ImageInode {
  number: number
  mode: number
  uid: number
  gid: number
  nlink: number
  size: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  layout: number
  union: number
  /** Where the xattrs end: what follows is the end of the file, or the map of its chunks. */
  followingAt: number
  xattrsAt: number
}

export interface ImageEntry {
  /** A latin1 view of the name's bytes. */
  name: string
  inode: number
}

/** Reads an erofs image: what this package writes, and what mkfs.erofs writes without compression. */
export class ErofsReader {
  readonly root: number
  private readonly metaAt: number
  private readonly sharedXattrsAt: number
  private readonly buildSeconds: number
  private readonly devices: number
  private window = Buffer.alloc(0)
  private windowAt = 0

  /** `fds`: of the image, and of those that have blocks of its files, in the order of its table. */
  constructor(private readonly fds: readonly number[]) {
    const superblock = this.bytes(superblockOffset, 128)
    if (superblock.readUInt32LE(0) !== 0xe0f5e1e2 || 2 ** superblock.readUInt8(12) !== blockSize)
      throw new Error('it is not an erofs image with blocks of 4096 bytes')
    this.devices = superblock.readUInt16LE(86)
    if (this.devices !== fds.length - 1)
      throw new Error(`its files have blocks in ${this.devices} other images; expected ${fds.length - 1}`)
    this.root = superblock.readUInt16LE(14)
    this.buildSeconds = Number(superblock.readBigUInt64LE(24))
    this.metaAt = superblock.readUInt32LE(40) * blockSize
    this.sharedXattrsAt = superblock.readUInt32LE(44) * blockSize
  }

  inode(number: number): ImageInode {
    const at = this.metaAt + number * slotSize
    const bytes = this.bytes(at, 64)
    const format = bytes.readUInt16LE(0)
    const extended = (format & 1) === 1
    const xattrCount = bytes.readUInt16LE(2)
    const xattrsAt = at + (extended ? 64 : 32)
    return {
      number,
      mode: bytes.readUInt16LE(4),
      layout: (format >> 1) & 7,
      union: bytes.readUInt32LE(16),
      size: extended ? Number(bytes.readBigUInt64LE(8)) : bytes.readUInt32LE(8),
      uid: extended ? bytes.readUInt32LE(24) : bytes.readUInt16LE(24),
      gid: extended ? bytes.readUInt32LE(28) : bytes.readUInt16LE(26),
      nlink: extended ? bytes.readUInt32LE(44) : bytes.readUInt16LE(6),
      mtimeSeconds: extended ? Number(bytes.readBigInt64LE(32)) : this.buildSeconds,
      mtimeNanoseconds: extended ? bytes.readUInt32LE(40) : 0,
      xattrsAt,
      followingAt: xattrsAt + (xattrCount === 0 ? 0 : 12 + (xattrCount - 1) * 4),
    }
  }

  xattrs({ xattrsAt, followingAt }: ImageInode): [name: string, value: Buffer][] {
    if (followingAt === xattrsAt) return []
    const found: [string, Buffer][] = []
    const take = (at: number): number => {
      const head = this.bytes(at, 4)
      const nameLength = head.readUInt8(0)
      const prefix = xattrPrefixes.find(([, index]) => index === head.readUInt8(1))?.[0]
      const size = 4 + nameLength + head.readUInt16LE(2)
      if (prefix === undefined) throw new Error(`an attribute has the unknown name index ${head.readUInt8(1)}`)
      const body = Buffer.from(this.bytes(at + 4, size - 4))
      found.push([prefix + body.toString('latin1', 0, nameLength), body.subarray(nameLength)])
      return at + Math.ceil(size / 4) * 4
    }
    const shared = this.bytes(xattrsAt + 4, 1).readUInt8(0)
    for (let index = 0; index < shared; index++)
      take(this.sharedXattrsAt + this.bytes(xattrsAt + 12 + index * 4, 4).readUInt32LE(0) * 4)
    for (let at = xattrsAt + 12 + shared * 4; at < followingAt;) at = take(at)
    return found
  }

  /** The entries of a directory, `.` and `..` apart, in the order of their names' bytes. */
  directory(inode: ImageInode): ImageEntry[] {
    return [...this.entries(inode)]
  }

  /** The same one by one: however many there are, a block of them is held at a time. */
  *entries(inode: ImageInode): Generator<ImageEntry, void> {
    for (let position = 0; position < inode.size; position += blockSize)
      for (const entry of this.entriesOfBlock(inode, position))
        if (entry.name !== '.' && entry.name !== '..') yield entry
  }

  /** The entry of a directory with this name: names are in order, so few blocks are read. */
  entry(inode: ImageInode, name: string): ImageEntry | undefined {
    let low = 0
    let high = Math.ceil(inode.size / blockSize)
    while (low < high) {
      const middle = (low + high) >> 1
      const entries = this.entriesOfBlock(inode, middle * blockSize)
      if (name < (entries[0] as ImageEntry).name) high = middle
      else if (name > (entries.at(-1) as ImageEntry).name) low = middle + 1
      else return entries.find((entry) => entry.name === name)
    }
    return undefined
  }

  private entriesOfBlock(inode: ImageInode, position: number): ImageEntry[] {
    const entries: ImageEntry[] = []
    const block = Buffer.alloc(blockSize)
    const length = this.read(inode, block, 0, Math.min(blockSize, inode.size - position), position)
    const count = block.readUInt16LE(8) / 12
    for (let index = 0; index < count; index++) {
      const start = block.readUInt16LE(index * 12 + 8)
      const limit = index + 1 < count ? block.readUInt16LE((index + 1) * 12 + 8) : length
      const zero = block.subarray(start, limit).indexOf(0)
      const name = block.toString('latin1', start, zero < 0 ? limit : start + zero)
      entries.push({ name, inode: Number(block.readBigUInt64LE(index * 12)) })
    }
    return entries
  }

  /** Fills a part of a buffer with data of a file; returns how much there was, which is less only at its end. */
  read(inode: ImageInode, buffer: Buffer, offset: number, length: number, position: number): number {
    const end = Math.min(inode.size, position + length)
    for (let at = position; at < end;) {
      const { from, device, bytes } = this.locate(inode, at)
      const part = Math.min(bytes, end - at)
      const target = buffer.subarray(offset + at - position, offset + at - position + part)
      if (from === undefined) target.fill(0)
      else this.readInto(device, target, from)
      at += part
    }
    return Math.max(0, end - position)
  }

  /** The ranges that hold data, for a file that has holes. */
  extents(inode: ImageInode): { start: number; end: number }[] | undefined {
    if (inode.layout !== layouts.chunks) return undefined
    const extents: { start: number; end: number }[] = []
    for (let at = 0; at < inode.size;) {
      const { from, bytes } = this.locate(inode, at)
      const end = Math.min(inode.size, at + bytes)
      const last = extents.at(-1)
      if (from !== undefined && last?.end === at) last.end = end
      else if (from !== undefined) extents.push({ start: at, end })
      at = end
    }
    return extents
  }

  /** Where a byte of a file lies (`from` undefined: in a hole), in which of the images (0: this one), and how many follow it there. */
  locate(inode: ImageInode, position: number): { from: number | undefined; device: number; bytes: number } {
    if (inode.layout === layouts.chunks) return this.locateChunk(inode, position)
    if (inode.layout !== layouts.plain && inode.layout !== layouts.inline)
      throw new Error('it is compressed; expected an image that is not')
    const outside = inode.layout === layouts.inline ? inode.size - (inode.size % blockSize) : inode.size
    if (position < outside) return { from: inode.union * blockSize + position, device: 0, bytes: outside - position }
    return { from: inode.followingAt + position - outside, device: 0, bytes: inode.size - position }
  }

  private locateChunk({ union, followingAt }: ImageInode, position: number) {
    const chunkSize = blockSize * 2 ** (union & 31)
    const inside = position % chunkSize
    const chunk = Math.floor(position / chunkSize)
    const isWide = (union & chunkIndexes) !== 0
    const at = isWide ? Math.ceil(followingAt / 8) * 8 + chunk * 8 : followingAt + chunk * 4
    const entry = this.bytes(at, isWide ? 8 : 4)
    const address = entry.readUInt32LE(isWide ? 4 : 0)
    const device = isWide ? entry.readUInt16LE(2) : 0
    if (device > this.devices) throw new Error(`a file has blocks in image ${device} of ${this.devices}`)
    return {
      from: address === holeAddress ? undefined : address * blockSize + inside,
      device,
      bytes: chunkSize - inside,
    }
  }

  /** A short piece of the image, valid until the next call. */
  private bytes(position: number, length: number): Buffer {
    if (position < this.windowAt || position + length > this.windowAt + this.window.length) {
      this.windowAt = position - (position % blockSize)
      const window = Buffer.alloc(Math.max(16, Math.ceil((position - this.windowAt + length) / blockSize)) * blockSize)
      this.window = window.subarray(0, readSync(this.fds[0] as number, window, 0, window.length, this.windowAt))
      if (position + length > this.windowAt + this.window.length) throw new Error('the image ends early')
    }
    return this.window.subarray(position - this.windowAt, position - this.windowAt + length)
  }

  private readInto(device: number, target: Buffer, position: number): void {
    for (let done = 0; done < target.length;) {
      const count = readSync(this.fds[device] as number, target, done, target.length - done, position + done)
      if (count === 0) throw new Error('the image ends early')
      done += count
    }
  }
}

export const isWhiteout = ({ mode, union }: ImageInode): boolean =>
  (mode & fileTypeMask) === fileTypes.character && union === 0

export const isDirectory = ({ mode }: ImageInode): boolean => (mode & fileTypeMask) === fileTypes.directory
