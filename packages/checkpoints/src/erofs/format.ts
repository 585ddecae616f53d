/** The on-disk format of erofs, as far as layers use it: extended inodes, plain, inline and chunk-based data, also in other images, inline xattrs. */

export const blockSize = 4096
/** Inodes lie on multiples of this; an inode's number is its place divided by it. */
export const slotSize = 32
export const inodeSize = 64
/** A chunk of a file without data. */
export const holeAddress = 0xffffffff

export const fileTypeMask = 0o170000
export const fileTypes = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  regular: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
} as const

export const layouts = { plain: 0, inline: 2, chunks: 4 } as const
/** In a chunk format: each chunk says in which image it is, in 8 bytes instead of 4. */
export const chunkIndexes = 0x20

/** An image that others have blocks in. */
export interface Device {
  /** `sha256:…` of the image. */
  digest: string
  sizeBytes: number
}

const deviceSlotSize = 128
/** The table of devices lies in the first block, behind the superblock: its place has 16 bits only. */
const deviceTableOffset = 2048
export const maxDevices = (blockSize - deviceTableOffset) / deviceSlotSize

/** What an inode says of itself, apart from where its data lies. */
export interface Attributes {
  /** Type and permission bits, as in `st_mode`. */
  mode: number
  uid: number
  gid: number
  nlink: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  /** Encoded by `encodeXattrs`; empty where there are none. */
  xattrs: Uint8Array
}

export interface Inode extends Attributes {
  serial: number
  layout: (typeof layouts)[keyof typeof layouts]
  size: number
  /** Block address, chunk format or device number, as layout and type ask. */
  union: number
}

export function encodeInode(inode: Inode): Buffer {
  const bytes = Buffer.alloc(inodeSize + inode.xattrs.length)
  bytes.writeUInt16LE(1 | (inode.layout << 1), 0)
  bytes.writeUInt16LE(inode.xattrs.length === 0 ? 0 : (inode.xattrs.length - xattrHeaderSize) / 4 + 1, 2)
  bytes.writeUInt16LE(inode.mode, 4)
  bytes.writeBigUInt64LE(BigInt(inode.size), 8)
  bytes.writeUInt32LE(inode.union, 16)
  bytes.writeUInt32LE(inode.serial, 20)
  bytes.writeUInt32LE(inode.uid, 24)
  bytes.writeUInt32LE(inode.gid, 28)
  bytes.writeBigInt64LE(BigInt(inode.mtimeSeconds), 32)
  bytes.writeUInt32LE(inode.mtimeNanoseconds, 40)
  bytes.writeUInt32LE(inode.nlink, 44)
  bytes.set(inode.xattrs, inodeSize)
  return bytes
}

export function encodeSuperblock({
  inodes,
  blocks,
  root,
  devices,
}: {
  inodes: number
  blocks: number
  root: number
  devices: readonly Device[]
}): Buffer {
  const bytes = Buffer.alloc(blockSize - superblockOffset)
  bytes.writeUInt32LE(0xe0f5e1e2, 0)
  bytes.writeUInt32LE(0x2, 8) // times are those of modification
  bytes.writeUInt8(Math.log2(blockSize), 12)
  bytes.writeUInt16LE(root, 14)
  bytes.writeBigUInt64LE(BigInt(inodes), 16)
  bytes.writeUInt32LE(blocks, 36)
  bytes.writeUInt32LE(devices.length > 0 ? 0x4 | 0x8 : 0x4, 80) // chunk-based files; a table of devices
  if (devices.length === 0) return bytes.subarray(0, 128)
  bytes.writeUInt16LE(devices.length, 86)
  bytes.writeUInt16LE(deviceTableOffset / deviceSlotSize, 88)
  for (const [index, { digest, sizeBytes }] of devices.entries()) {
    const at = deviceTableOffset - superblockOffset + index * deviceSlotSize
    bytes.write(digest.slice('sha256:'.length), at, 'latin1')
    bytes.writeUInt32LE(sizeBytes / blockSize, at + 64)
  }
  return bytes
}

export const superblockOffset = 1024

/** As `new_encode_dev` of the kernel. */
export const encodeDevice = (major: number, minor: number): number =>
  ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0

const xattrHeaderSize = 12
export const xattrPrefixes: [prefix: string, index: number][] = [
  ['user.', 1],
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['trusted.', 4],
  ['security.', 6],
]

/** The xattrs of one inode as they follow it. Names are latin1 views of their bytes; one that erofs has no place for is an error. */
export function encodeXattrs(xattrs: readonly (readonly [name: string, value: Uint8Array])[]): Buffer {
  if (xattrs.length === 0) return Buffer.alloc(0)
  return Buffer.concat([Buffer.alloc(xattrHeaderSize), ...xattrs.map(([name, value]) => encodeXattr(name, value))])
}

function encodeXattr(name: string, value: Uint8Array): Buffer {
  const found = xattrPrefixes.find(([prefix]) => name.startsWith(prefix))
  if (!found) throw new Error(`the attribute ${name}: expected user.*, trusted.*, security.* or a POSIX ACL`)
  const rest = Buffer.from(name.slice(found[0].length), 'latin1')
  const entry = Buffer.alloc(Math.ceil((4 + rest.length + value.length) / 4) * 4)
  entry.writeUInt8(rest.length, 0)
  entry.writeUInt8(found[1], 1)
  entry.writeUInt16LE(value.length, 2)
  entry.set(rest, 4)
  entry.set(value, 4 + rest.length)
  return entry
}

const opaque = ['trusted.overlay.opaque', Buffer.from('y')] as const

/** The same attributes on a directory that hides the one below it. */
export function hidingBelow(attributes: Attributes): Attributes {
  const { xattrs } = attributes
  const extended = xattrs.length === 0 ? encodeXattrs([opaque]) : Buffer.concat([xattrs, encodeXattr(...opaque)])
  return { ...attributes, xattrs: extended }
}
