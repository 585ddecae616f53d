import type { Stats } from 'node:fs'
import { below, kindOfMode, type LocalInfo } from '../local-tree.js'
import { digestBytes, namesIn, numbersPerRow, type DigestRows } from './digest-rows.js'

/** What the system says of an entry. */
export type Told = Pick<Stats, 'mtimeMs' | 'ctimeMs' | 'size' | 'ino' | 'mode'>

/** What was known of a folder's entries, by row. */
export class KnownRows {
  /** The folder that was asked for last, and its names. */
  private folder = -1
  private names: readonly string[] = []
  private byPath: Map<string, number> | undefined

  constructor(readonly columns: DigestRows) {}

  /** Whether an entry is still as it was. What is in a folder changes its times: they are taken anew. */
  recognizes(row: number, { mtimeMs, ctimeMs, size, ino, mode }: Told): boolean {
    const { numbers } = this.columns
    const at = row * numbersPerRow
    if (numbers[at + 4] !== mode) return false
    if (kindOfMode(mode) === 'folder') {
      numbers[at] = mtimeMs
      return true
    }
    return numbers[at] === mtimeMs && numbers[at + 1] === ctimeMs && numbers[at + 2] === size && numbers[at + 3] === ino
  }

  hash(row: number): number {
    return this.columns.hashes[row] as number
  }

  /** In base64. */
  digest(row: number): string {
    return this.columns.digests.toString('base64', row * digestBytes, (row + 1) * digestBytes)
  }

  /** Of a file the sha256 of its content in hex. */
  content(row: number): string {
    if (this.info(row).kind !== 'file') return ''
    return this.columns.contents.toString('hex', row * digestBytes, (row + 1) * digestBytes)
  }

  sizeBytes(row: number): number {
    return this.columns.numbers[row * numbersPerRow + 2] as number
  }

  info(row: number): LocalInfo {
    const at = row * numbersPerRow
    const [mtimeMs = 0, ctimeMs = 0, size = 0, ino = 0, mode = 0] = this.columns.numbers.subarray(
      at,
      at + numbersPerRow,
    )
    return { kind: kindOfMode(mode), mode, size, mtimeMs, ctimeMs, ino }
  }

  path(row: number): string {
    const { folders, starts } = this.columns
    if (!(row >= (starts[this.folder] ?? Infinity) && row < (starts[this.folder + 1] ?? 0))) {
      let [low, high] = [0, folders.length]
      while (high - low > 1) {
        const middle = (low + high) >> 1
        if ((starts[middle] as number) <= row) low = middle
        else high = middle
      }
      this.folder = low
      this.names = namesIn(this.columns, low)
    }
    return below(folders[this.folder] as string, this.names[row - (starts[this.folder] as number)] as string)
  }

  /** Where a folder is among those in which rows are; `expected` is where it is looked for first. */
  placeOf(folder: string, expected: number): number | undefined {
    const { folders } = this.columns
    if (folders[expected] === folder) return expected
    this.byPath ??= new Map(folders.map((each, index) => [each, index]))
    return this.byPath.get(folder)
  }
}
