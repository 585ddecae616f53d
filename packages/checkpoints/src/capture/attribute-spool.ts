import type { Attributes } from '../erofs/format.js'

const fixedSize = 32

/** The attributes of many directories in one buffer, each found again by the number that adding it gave (never 0). Numbers of links aren't kept. */
export class AttributeSpool {
  private bytes = Buffer.alloc(4096)
  private used = 1

  add({ mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs }: Attributes): number {
    const at = this.used
    const needed = at + fixedSize + xattrs.length
    if (needed > this.bytes.length) {
      const larger = Buffer.alloc(Math.max(needed, this.bytes.length * 2))
      this.bytes.copy(larger)
      this.bytes = larger
    }
    this.bytes.writeUInt16LE(mode, at)
    this.bytes.writeUInt32LE(uid, at + 4)
    this.bytes.writeUInt32LE(gid, at + 8)
    this.bytes.writeUInt32LE(mtimeNanoseconds, at + 12)
    this.bytes.writeBigInt64LE(BigInt(mtimeSeconds), at + 16)
    this.bytes.writeUInt32LE(xattrs.length, at + 24)
    this.bytes.set(xattrs, at + fixedSize)
    this.used = needed
    return at
  }

  get(at: number): Attributes {
    const { bytes } = this
    return {
      mode: bytes.readUInt16LE(at),
      nlink: 1,
      uid: bytes.readUInt32LE(at + 4),
      gid: bytes.readUInt32LE(at + 8),
      mtimeNanoseconds: bytes.readUInt32LE(at + 12),
      mtimeSeconds: Number(bytes.readBigInt64LE(at + 16)),
      xattrs: bytes.subarray(at + fixedSize, at + fixedSize + bytes.readUInt32LE(at + 24)),
    }
  }
}
