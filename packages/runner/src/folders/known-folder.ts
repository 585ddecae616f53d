import { bucketsOf, entryDigest, pathHash, type Buckets, type FolderEntry } from '@vm0/contract'

/** An entry as `find` tells of it, and its digest once its content is known. */
export interface FoundEntry extends FolderEntry {
  /** Of all that makes the entry another one; empty as long as its content is not known. */
  digest: string
  changedAtMs: number
  /** Of its path. */
  hash: number
  /** Of the last buckets that it was put into; none when its digest is newer than they are. */
  mark: object | undefined
}

interface Known {
  entry: FoundEntry
  /** The look that saw it last. */
  seen: number
}

/** Type, mode, inode, size, time of the last change, path. */
const entryLine = /^([fdl]) ([0-7]+) \d+ (\d+) ([\d.]+) (.+)$/s
const kinds: Record<string, FolderEntry['kind']> = { f: 'file', d: 'folder', l: 'link' }

/**
 * What is known of a folder, by what `find` says of each entry: type, mode, inode, size, time of the last change, path. As
 * long as that is the same, so is the entry, and nothing of it has to be taken apart or read again.
 */
export class KnownFolder {
  private readonly lines = new Map<string, Known>()
  private looks = 0
  /** Buckets that were made last; what is in them has this mark. */
  private last: { mark: object; buckets: Buckets | undefined } = { mark: {}, buckets: undefined }

  /** One look through the folder; what has not been seen at its end is forgotten. */
  look() {
    const round = ++this.looks
    let taken = 0
    return {
      /** The entry that a line tells of; of a link, `target` is where it leads. What is neither file, folder nor link is none. */
      take: (line: string, target: string): FoundEntry | undefined => {
        const key = target === '' ? line : `${line}\0${target}`
        const known = this.lines.get(key)
        if (known) {
          if (known.seen < round) {
            known.seen = round
            taken += 1
          }
          return known.entry
        }
        const entry = parse(line, target)
        if (!entry) return undefined
        this.lines.set(key, { entry, seen: round })
        taken += 1
        return entry
      },
      end: (): void => {
        if (taken === this.lines.size) return
        for (const [line, { seen }] of this.lines) if (seen < round) this.lines.delete(line)
      },
    }
  }

  /** Some of its entries in buckets. */
  buckets(entries: readonly FoundEntry[], count: number): Buckets {
    const { last } = this
    const mark = {}
    const members = {
      length: entries.length,
      hash: (index: number) => entries[index]!.hash,
      digest: (index: number) => entries[index]!.digest,
      wasMember: (index: number) => {
        const entry = entries[index]!
        const was = entry.mark === last.mark
        entry.mark = mark
        return was
      },
    }
    const buckets = bucketsOf(members, count, last.buckets)
    this.last = { mark, buckets }
    return buckets
  }

  forget(entries: ReadonlySet<FoundEntry>): void {
    for (const [line, { entry }] of this.lines) if (entries.has(entry)) this.lines.delete(line)
  }
}

function parse(line: string, target: string): FoundEntry | undefined {
  const match = entryLine.exec(line)
  if (!match) return undefined
  const [, letter = '', mode = '', sizeBytes, changed, path = ''] = match
  const kind = kinds[letter] as FolderEntry['kind']
  const entry: FoundEntry = {
    path,
    kind,
    mode: kind === 'link' ? 0 : Number.parseInt(mode, 8) & 0o777,
    sizeBytes: kind === 'file' ? Number(sizeBytes) : 0,
    content: target,
    digest: '',
    changedAtMs: Number(changed) * 1000,
    hash: pathHash(path),
    mark: undefined,
  }
  if (kind !== 'file') entry.digest = entryDigest(entry)
  return entry
}
