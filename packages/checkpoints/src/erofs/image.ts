import { ftruncateSync, writeSync } from 'node:fs'
import {
  blockSize,
  encodeDevice,
  encodeInode,
  encodeSuperblock,
  holeAddress,
  inodeSize,
  layouts,
  maxDevices,
  slotSize,
  superblockOffset,
  type Attributes,
  type Device,
} from './format.js'
import { ChunkMap } from './chunk-map.js'
import { encodeDirectory, type DirectoryEntry } from './directory.js'

const windowBlocks = 256
/** Blocks that still take inodes. More waste less, fewer keep what belongs together nearer. */
const maxOpenBlocks = 8
/** The root's number has 16 bits only, so its place is kept free from the start; two blocks take whatever xattrs ext4 can hold. */
const rootBlock = 1
const rootBlocks = 2
const rootNumber = (rootBlock * blockSize) / slotSize
/** A map of a file's holes takes at most this many chunks; past it the chunks get larger. */
const maxChunks = 262_144

export interface DataSource {
  size: number
  /** Fills as much of the buffer as it can from a position in the file; 0 at its end. */
  read(buffer: Buffer, offset: number, length: number, position: number): number
  /** Ranges that hold data, in order, where the file has holes. */
  extents?: readonly Range[]
  /** Ranges of whole blocks whose bytes another image has, in order. */
  elsewhere?: readonly Elsewhere[]
}

export interface Range {
  start: number
  end: number
}

export interface Elsewhere extends Range {
  device: Device
  /** The block of that image that the range begins with. */
  block: number
}

/** Where a directory lies: its number, and the first of the blocks that its inode has no room for. */
export interface DirectoryPlace {
  number: number
  dataBlock: number
}

/**
 * Writes an erofs image from front to back: data as it comes, inodes with the ends of their files between it, directories
 * when all numbers are known. Calls are synchronous: this runs in a thread of its own.
 */
export class ErofsImage {
  private readonly window = Buffer.alloc(windowBlocks * blockSize)
  /** The block that the window begins with. */
  private windowStart = 0
  private nextBlock = rootBlock + rootBlocks
  private serial = 0
  private readonly open: { block: number; used: number }[] = []

  private readonly table: Device[] = []

  constructor(private readonly fd: number) {}

  /** The images that have blocks of this one's files: whoever reads it needs them, in this order. */
  get devices(): readonly Device[] {
    return this.table
  }

  regular(attributes: Attributes, source: DataSource): number {
    if (source.extents || source.elsewhere) return this.chunked(attributes, source)
    const tail = Buffer.alloc(inlineBytes(attributes.xattrs.length, source.size))
    const dataBlock = this.copy(source, 0, source.size - tail.length)
    fill(source, tail, 0, tail.length, source.size - tail.length)
    return this.place(attributes, tail.length > 0 ? layouts.inline : layouts.plain, source.size, dataBlock, tail)
  }

  symlink(attributes: Attributes, target: Uint8Array): number {
    const read = (buffer: Buffer, offset: number, length: number, position: number): number => {
      buffer.set(target.subarray(position, position + length), offset)
      return length
    }
    return this.regular(attributes, { size: target.length, read })
  }

  /** A device, FIFO or socket. */
  special(attributes: Attributes, major = 0, minor = 0): number {
    return this.place(attributes, layouts.plain, 0, encodeDevice(major, minor), new Uint8Array())
  }

  /** Gives a directory its number before its entries have theirs. */
  reserveDirectory(xattrsLength: number, size: number): DirectoryPlace {
    const inline = inlineBytes(xattrsLength, size)
    const dataBlock = this.allocate(Math.ceil((size - inline) / blockSize))
    return { number: this.findPlace(inodeSize + xattrsLength + inline) / slotSize, dataBlock }
  }

  reserveRoot(xattrsLength: number, size: number): DirectoryPlace {
    const inline = inlineBytes(xattrsLength, size)
    const taken = (rootBlocks - 1) * blockSize
    if (inodeSize + xattrsLength > taken)
      throw new Error(`the extended attributes of / take ${xattrsLength} bytes; expected at most ${taken - inodeSize}`)
    return { number: rootNumber, dataBlock: this.allocate(Math.ceil((size - inline) / blockSize)) }
  }

  writeDirectory(place: DirectoryPlace, attributes: Attributes, entries: readonly DirectoryEntry[]): void {
    const data = encodeDirectory(entries)
    const inline = inlineBytes(attributes.xattrs.length, data.length)
    const outside = data.subarray(0, data.length - inline)
    this.serial += 1
    const inode = encodeInode({
      ...attributes,
      serial: this.serial,
      layout: inline > 0 ? layouts.inline : layouts.plain,
      size: data.length,
      union: place.dataBlock,
    })
    this.write(place.dataBlock * blockSize, outside)
    this.write(place.number * slotSize, Buffer.concat([inode, data.subarray(outside.length)]))
  }

  /** Completes the image; returns its size in bytes. */
  finish(): number {
    const superblock = encodeSuperblock({
      inodes: this.serial,
      blocks: this.nextBlock,
      root: rootNumber,
      devices: this.table,
    })
    this.write(superblockOffset, superblock)
    this.flush()
    ftruncateSync(this.fd, this.nextBlock * blockSize)
    return this.nextBlock * blockSize
  }

  private place(attributes: Attributes, layout: 0 | 2 | 4, size: number, union: number, following: Uint8Array): number {
    const length = inodeSize + attributes.xattrs.length + following.length
    const place = this.findPlace(length)
    this.serial += 1
    const inode = encodeInode({ ...attributes, serial: this.serial, layout, size, union })
    this.write(place, inode)
    this.write(place + inode.length, following)
    return place / slotSize
  }

  /** Room for an inode and what follows it, inside one block where it fits into one. */
  private findPlace(length: number): number {
    const taken = Math.ceil(length / slotSize) * slotSize
    if (taken > blockSize) return this.allocate(Math.ceil(taken / blockSize)) * blockSize
    let best: { block: number; used: number } | undefined
    for (const each of this.open) {
      if (each.used + taken <= blockSize && (!best || each.used > best.used)) best = each
    }
    if (!best) {
      if (this.open.length === maxOpenBlocks) {
        const fullest = this.open.reduce((a, b) => (b.used > a.used ? b : a))
        this.open.splice(this.open.indexOf(fullest), 1)
      }
      best = { block: this.allocate(1), used: 0 }
      this.open.push(best)
    }
    const place = best.block * blockSize + best.used
    best.used += taken
    return place
  }

  private allocate(blocks: number): number {
    const block = this.nextBlock
    this.nextBlock += blocks
    if (this.nextBlock >= holeAddress) throw new Error('the layer is larger than 16 TiB')
    return block
  }

  /** Copies a range of a file into blocks of its own; returns the first. */
  private copy(source: DataSource, from: number, to: number): number {
    const first = this.allocate(Math.ceil((to - from) / blockSize))
    let position = from
    while (position < to) {
      const { at, length } = this.room(first * blockSize + (position - from), to - position)
      fill(source, this.window, at, length, position)
      position += length
    }
    return first
  }

  private chunked(attributes: Attributes, source: DataSource): number {
    const { size, extents = [{ start: 0, end: size }], elsewhere = [] } = source
    let chunkBits = 0
    while (Math.ceil(size / (blockSize * 2 ** chunkBits)) > maxChunks) chunkBits += 1
    const chunkBlocks = 2 ** chunkBits
    const chunkSize = blockSize * chunkBlocks
    const chunks = Math.ceil(size / chunkSize)
    const others = this.chunksElsewhere(elsewhere, chunkBlocks)
    const map = new ChunkMap(chunks, attributes.xattrs.length, others.size > 0)
    let next = 0
    for (const { start, end } of extents) {
      const last = Math.min(chunks, Math.ceil(end / chunkSize))
      next = Math.max(next, Math.floor(start / chunkSize))
      while (next < last) {
        const other = others.get(next)
        if (other) {
          map.set(next, other.block, other.device)
          next += 1
          continue
        }
        const from = next
        while (next < last && !others.has(next)) next += 1
        const block = this.copy(source, from * chunkSize, Math.min(size, next * chunkSize))
        for (let chunk = from; chunk < next; chunk++) map.set(chunk, block + (chunk - from) * chunkBlocks)
      }
    }
    return this.place(attributes, layouts.chunks, size, chunkBits | map.format, map.bytes)
  }

  /** The chunks that lie whole in another image, as far as that is in the table. */
  private chunksElsewhere(
    elsewhere: readonly Elsewhere[],
    chunkBlocks: number,
  ): Map<number, { device: number; block: number }> {
    const found = new Map<number, { device: number; block: number }>()
    const chunkSize = chunkBlocks * blockSize
    this.admit(elsewhere)
    for (const { start, end, device: image, block } of elsewhere) {
      const first = Math.ceil(start / chunkSize)
      const last = Math.floor(end / chunkSize)
      const device = this.table.findIndex(({ digest }) => digest === image.digest) + 1
      if (device === 0) continue
      for (let chunk = first; chunk < last; chunk++)
        found.set(chunk, { device, block: block + chunk * chunkBlocks - start / blockSize })
    }
    return found
  }

  /**
   * Puts images into the table, those with most of the file first. Where not all have room half of it stays free: what the
   * smaller ones have is copied into this image, which then stands for them all, so that a file that grows by a little each
   * time is copied a few times only.
   */
  private admit(elsewhere: readonly Elsewhere[]): void {
    const bytes = new Map<string, { device: Device; bytes: number }>()
    for (const { device, start, end } of elsewhere) {
      if (this.table.some(({ digest }) => digest === device.digest)) continue
      const known = bytes.get(device.digest)
      bytes.set(device.digest, { device, bytes: (known?.bytes ?? 0) + end - start })
    }
    const room = this.table.length + bytes.size <= maxDevices ? maxDevices : maxDevices / 2
    const largestFirst = [...bytes.values()].toSorted((a, b) => b.bytes - a.bytes)
    for (const { device } of largestFirst.slice(0, Math.max(0, room - this.table.length))) this.table.push(device)
  }

  private write(position: number, bytes: Uint8Array): void {
    let done = 0
    while (done < bytes.length) {
      const start = this.windowStart * blockSize
      if (position + done < start) {
        // Only what fits before the window: the rest lies in it.
        const length = Math.min(bytes.length - done, start - position - done)
        writeAll(this.fd, bytes.subarray(done, done + length), position + done)
        done += length
        continue
      }
      const { at, length } = this.room(position + done, bytes.length - done)
      this.window.set(bytes.subarray(done, done + length), at)
      done += length
    }
  }

  /** Where in the window a position lies, moving the window there when it is past its end, and how much fits. */
  private room(position: number, wanted: number): { at: number; length: number } {
    if (position >= (this.windowStart + windowBlocks) * blockSize) {
      this.flush()
      this.window.fill(0)
      this.windowStart = Math.floor(position / blockSize)
    }
    const at = position - this.windowStart * blockSize
    return { at, length: Math.min(wanted, this.window.length - at) }
  }

  private flush(): void {
    const used = Math.min(windowBlocks, this.nextBlock - this.windowStart) * blockSize
    if (used > 0) writeAll(this.fd, this.window.subarray(0, used), this.windowStart * blockSize)
  }
}

/** How many bytes of a file's or directory's end lie behind its inode: those of the last, unfilled block, where one block takes both. */
function inlineBytes(xattrsLength: number, size: number): number {
  const tail = size % blockSize
  return inodeSize + xattrsLength + tail <= blockSize ? tail : 0
}

/** Reads a range; what a file that shrank no longer has stays zero. */
function fill(source: DataSource, buffer: Buffer, offset: number, length: number, position: number): void {
  let done = 0
  while (done < length) {
    const count = source.read(buffer, offset + done, length - done, position + done)
    if (count === 0) return
    done += count
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done)
}
