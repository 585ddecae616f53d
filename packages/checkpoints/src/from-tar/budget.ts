import { Vm0Error } from '@vm0/contract'

export interface ImportLimits {
  /** Of the file as it comes. */
  maxArchiveBytes: number
  /** Of all that is in it, unpacked. */
  maxUnpackedBytes: number
  maxEntries: number
}

export interface Spent {
  bytes: number
  entries: number
}

const chunkBytes = 4096
const maxChunks = 262_144

/** Counts what unpacking takes, so that a small file can't grow without bounds. */
export class Budget {
  constructor(
    private readonly limits: ImportLimits,
    readonly spent: Spent,
  ) {}

  bytes(count: number): void {
    this.spent.bytes += count
    if (this.spent.bytes > this.limits.maxUnpackedBytes)
      throw new Vm0Error(
        'ARCHIVE_TOO_LARGE',
        `the session is larger than ${this.limits.maxUnpackedBytes} bytes when it is unpacked`,
      )
  }

  entry(bytes: number): void {
    this.spent.entries += 1
    if (this.spent.entries > this.limits.maxEntries)
      throw new Vm0Error('ARCHIVE_TOO_LARGE', `the session has more than ${this.limits.maxEntries} files`)
    this.bytes(bytes)
  }

  /** A file with holes has a map of its chunks, whatever it holds. */
  sparse(size: number): void {
    if (size > 2 ** 44) throw new Vm0Error('ARCHIVE_TOO_LARGE', 'a file with holes is larger than 16 TiB')
    this.bytes(Math.min(maxChunks, Math.ceil(size / chunkBytes)) * 4)
  }
}
