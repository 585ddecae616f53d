import { chunkIndexes, holeAddress, inodeSize } from './format.js'

/** Where the chunks of a file are, as it follows the inode; all are holes at first. */
export class ChunkMap {
  readonly bytes: Buffer
  /** What the inode says of the map, beside the size of the chunks. */
  readonly format: number
  private readonly unit: number
  /** Entries that name an image lie on multiples of 8: the inode does not always end on one. */
  private readonly begin: number

  constructor(
    chunks: number,
    xattrsLength: number,
    /** Whether chunks may be in other images. */
    private readonly namesImages: boolean,
  ) {
    this.format = namesImages ? chunkIndexes : 0
    this.unit = namesImages ? 8 : 4
    this.begin = namesImages ? -(inodeSize + xattrsLength) & 7 : 0
    this.bytes = Buffer.alloc(this.begin + chunks * this.unit)
    for (let chunk = 0; chunk < chunks; chunk++) this.set(chunk, holeAddress)
  }

  /** `device`: the image's place in the table, from 1 on; 0 is this one. */
  set(chunk: number, block: number, device = 0): void {
    const at = this.begin + chunk * this.unit
    this.bytes.writeUInt32LE(block, at + this.unit - 4)
    if (this.namesImages) this.bytes.writeUInt16LE(device, at + 2)
  }
}
