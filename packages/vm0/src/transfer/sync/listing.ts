import { bucketsOf, pathHash, type Buckets, type FolderEntry } from '@vm0/contract/client'
import { below, infoOf, kindOf, WalkedEntry, type LocalEntry } from '../local-tree.js'
import type { DigestRows } from './digest-rows.js'
import { KnownRows, type Told } from './known-rows.js'
import { WalkedNames, type WalkedFolder } from './walked-names.js'

export interface ScannedEntry extends FolderEntry {
  /** Of all that makes it another one. */
  digest: string
  local: LocalEntry
}

/** An entry of which nothing was known, or that has changed. */
export interface FreshEntry extends ScannedEntry {
  /** Of its path, as buckets have it. */
  hash: number
  /** Should it change, what the system says of it does, too. */
  isSettled: boolean
}

/**
 * What is in a local folder, in the order of its walk. An entry that is as it was known is the number of its row until it is
 * asked for: objects for a hundred thousand would cost as much as their system calls.
 */
export class Listing implements Iterable<ScannedEntry> {
  readonly rows: KnownRows
  readonly fresh: FreshEntry[] = []
  private readonly names: WalkedNames
  /** Of what is known its row, of what is fresh its place there as -1, -2 and so on. */
  private places = new Int32Array(1024)
  private taken = 0
  private isTorn = false

  constructor(
    private readonly root: string,
    known: DigestRows,
  ) {
    this.rows = new KnownRows(known)
    this.names = new WalkedNames(this.rows)
  }

  get length(): number {
    return this.taken
  }

  /** Takes what the walk comes by, one folder after the other; gives an entry for what is not as it was known. */
  take(folder: string, child: string, told: Told): FreshEntry | undefined {
    const row = this.names.rowOf(folder, child)
    if (row >= 0 && this.rows.recognizes(row, told)) {
      this.put(row)
      return undefined
    }
    const path = below(folder, child)
    const local = new WalkedEntry(this.root, path, infoOf(told))
    const kind = kindOf(local)
    const entry: FreshEntry = {
      path,
      kind,
      mode: kind === 'link' ? 0 : told.mode & 0o777,
      sizeBytes: kind === 'file' ? told.size : 0,
      content: '',
      digest: '',
      local,
      hash: pathHash(path),
      isSettled: false,
    }
    this.fresh.push(entry)
    this.put(-this.fresh.length)
    return entry
  }

  private put(place: number): void {
    if (this.taken === this.places.length) {
      const places = new Int32Array(2 * this.taken)
      places.set(this.places)
      this.places = places
    }
    this.places[this.taken++] = place
  }

  /** Takes out what turned out to be gone. */
  remove(gone: ReadonlySet<FreshEntry>): void {
    if (gone.size === 0) return
    this.isTorn = true
    this.places = this.places
      .subarray(0, this.taken)
      .filter((place) => place >= 0 || !gone.has(this.fresh[-place - 1] as FreshEntry))
    this.taken = this.places.length
  }

  /** All of it in so many buckets. */
  buckets(count: number): Buckets {
    const members = {
      length: this.taken,
      hash: (index: number) => this.hash(index),
      digest: (index: number) => {
        const place = this.places[index] as number
        return place >= 0 ? this.rows.digest(place) : this.freshAt(place).digest
      },
      wasMember: (index: number) => (this.places[index] as number) >= 0,
    }
    return bucketsOf(members, count, this.rows.columns.buckets)
  }

  /** Of the path of an entry. */
  hash(index: number): number {
    const place = this.places[index] as number
    return place >= 0 ? this.rows.hash(place) : this.freshAt(place).hash
  }

  sizeBytes(index: number): number {
    const place = this.places[index] as number
    return place >= 0 ? this.rows.sizeBytes(place) : this.freshAt(place).sizeBytes
  }

  entry(index: number): ScannedEntry {
    const place = this.places[index] as number
    return place >= 0 ? this.entryOf(place) : this.freshAt(place)
  }

  *[Symbol.iterator](): Generator<ScannedEntry> {
    for (let index = 0; index < this.taken; index++) yield this.entry(index)
  }

  /** By folder, and for each entry its row, or its place among the fresh ones. Nothing where the folders have more than the places. */
  walked(): { folders: readonly WalkedFolder[]; places: Int32Array } | undefined {
    if (this.isTorn) return undefined
    return { folders: this.names.finish(), places: this.places.subarray(0, this.taken) }
  }

  private freshAt(place: number): FreshEntry {
    return this.fresh[-place - 1] as FreshEntry
  }

  private entryOf(row: number): ScannedEntry {
    const { rows, root } = this
    const [path, info] = [rows.path(row), rows.info(row)]
    return {
      path,
      kind: info.kind === 'folder' ? 'folder' : 'file',
      mode: info.mode & 0o777,
      sizeBytes: info.size,
      content: rows.content(row),
      digest: rows.digest(row),
      local: new WalkedEntry(root, path, info),
    }
  }
}
