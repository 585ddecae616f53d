import { namesIn, type DigestRows } from './digest-rows.js'
import type { KnownRows } from './known-rows.js'

/** What was walked of one folder: where it was known with just these names its place there, otherwise the names. */
export interface WalkedFolder {
  folder: string
  /** How many entries were taken before. */
  start: number
  names: number | readonly string[]
}

/** Finds the rows of what a walk comes by: it goes from folder to folder as the one before did, and by name in each. */
export class WalkedNames {
  private readonly walked: WalkedFolder[] = []
  private folder: string | undefined
  private start = 0
  private taken = 0
  /** Where the folder is among those that are known; -1 for one that isn't. */
  private place = -1
  private known: readonly string[] = []
  private next = 0
  /** Its names so far, once they are not those that are known. */
  private own: string[] | undefined

  constructor(private readonly rows: KnownRows) {}

  /** The row of an entry; -1 when nothing of it is known. */
  rowOf(folder: string, child: string): number {
    if (folder !== this.folder) this.enter(folder)
    this.taken += 1
    const { known } = this
    if (known[this.next] !== child) {
      this.own ??= known.slice(0, this.next)
      while (this.next < known.length && (known[this.next] as string) < child) this.next += 1
    }
    this.own?.push(child)
    if (known[this.next] !== child) return -1
    return (this.rows.columns.starts[this.place] as number) + this.next++
  }

  /** All that came by. */
  finish(): readonly WalkedFolder[] {
    this.leave()
    return this.walked
  }

  private enter(folder: string): void {
    const expected = this.place + 1
    this.leave()
    this.folder = folder
    this.start = this.taken
    const place = this.rows.placeOf(folder, expected) ?? -1
    this.known = place < 0 ? [] : knownNames(this.rows.columns, place)
    if (place >= 0) this.place = place
  }

  private leave(): void {
    const { folder, start, own, known, next, place } = this
    if (folder !== undefined) {
      const isAsKnown = own === undefined && next === known.length
      this.walked.push({ folder, start, names: isAsKnown ? place : (own ?? known.slice(0, next)) })
    }
    this.folder = undefined
    this.own = undefined
    this.next = 0
  }
}

/** None where they are not as many as the rows. */
function knownNames(columns: DigestRows, place: number): string[] {
  const [start = 0, end = 0] = columns.starts.subarray(place, place + 2)
  const names = namesIn(columns, place)
  return names.length === end - start ? names : []
}
