import { bucketsOf, type Buckets } from '@vm0/contract'
import { endOf, entryOfLine, unread, type FoundEntry } from './found-entry.js'
import { sameBytes } from './same-bytes.js'

/** What one line of `find` told, or two where it was of a link: the second is where it leads. */
interface Known {
  /** None of what is neither file, folder nor link, or has a name that is not UTF-8. */
  entry: FoundEntry | undefined
  isUnnamed: boolean
  /** Where it was among the lines that it came with. */
  at: number
  /** The look that saw it last. */
  seen: number
}

/** All that `find` told in one look: lines, each followed by a NUL, and where each ends. */
interface Told {
  bytes: Buffer
  ends: readonly number[]
  lines: readonly Known[]
}

/**
 * What is known of a folder, by what `find` says of each entry: type, mode, inode, size, time of the last change, path. As
 * long as that is the same, so is the entry, and nothing of it has to be taken apart or read again: what `find` says now is
 * compared with what it said before, as bytes.
 */
export class KnownFolder {
  private told: Told = { bytes: Buffer.alloc(0), ends: [], lines: [] }
  private readonly byPath = new Map<string, Known>()
  private looks = 0
  /** Buckets that were made last; what is in them has this mark. */
  private last: { mark: object; buckets: Buckets | undefined } = { mark: {}, buckets: undefined }

  /** One look through the folder; `found` gets its entries. What has not been seen at its end is forgotten. */
  look(found: { entries: FoundEntry[]; unnamed: number }) {
    const round = ++this.looks
    const { told: before, byPath } = this
    const parts: Buffer[] = []
    const ends: number[] = []
    const lines: Known[] = []
    /** The line that comes next if all is as it was. */
    let next = 0
    let [total, taken] = [0, 0]
    const put = (known: Known, end: number): void => {
      known.at = lines.length
      lines.push(known)
      ends.push(end)
      const { entry } = known
      if (!entry) {
        if (known.isUnnamed) found.unnamed += 1
        return
      }
      if (known.seen < round) {
        known.seen = round
        taken += 1
      }
      if (entry.digest !== '' && !entry.isSettled) known.entry = unread(entry)
      found.entries.push(known.entry as FoundEntry)
    }
    const startOf = (line: number): number => (line === 0 ? 0 : (before.ends[line - 1] as number))
    /** Takes the lines that are as they were; gives how many bytes of them there are. */
    const takeSame = (bytes: Buffer, at: number): number => {
      const start = startOf(next)
      const same = start + sameBytes(before.bytes, start, bytes, at)
      const shift = total + at - start
      while (next < before.ends.length && (before.ends[next] as number) <= same) {
        put(before.lines[next] as Known, (before.ends[next] as number) + shift)
        next += 1
      }
      return startOf(next) - start
    }
    const takeOther = (line: Buffer, end: number): void => {
      const { entry, isUnnamed } = entryOfLine(line)
      const known = entry && byPath.get(entry.path)
      const at = known?.at ?? -1
      // What lies in between has gone, or comes later.
      if (known && at >= next && at < before.lines.length) next = at + 1
      const other = before.lines[at]
      if (other?.entry && before.bytes.subarray(startOf(at), before.ends[at]).equals(line)) return put(other, end)
      const fresh: Known = { entry, isUnnamed, at: -1, seen: 0 }
      if (entry) byPath.set(entry.path, fresh)
      put(fresh, end)
    }
    return {
      /** Takes the lines that have come whole; gives how many bytes of them there are. */
      take: (bytes: Buffer): number => {
        let at = 0
        for (;;) {
          at += takeSame(bytes, at)
          const end = endOf(bytes, at)
          if (end < 0) break
          takeOther(bytes.subarray(at, end), total + end)
          at = end
        }
        parts.push(bytes.subarray(0, at))
        total += at
        return at
      },
      /** How many have come. */
      lines: (): number => lines.length,
      end: (): void => {
        this.told = { bytes: Buffer.concat(parts, total), ends, lines }
        if (taken === byPath.size) return
        for (const [path, { seen }] of byPath) if (seen < round) byPath.delete(path)
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
}
