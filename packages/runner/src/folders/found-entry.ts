import { entryDigest, pathHash, type FolderEntry } from '@vm0/contract'

/** An entry as `find` tells of it, and its digest once its content is known. */
export interface FoundEntry extends FolderEntry {
  /** Of all that makes the entry another one; empty as long as its content is not known. */
  digest: string
  changedAtMs: number
  /** Should its content change after it was read, `find` will tell something else of it. */
  isSettled: boolean
  /** Of its path, as buckets have it. */
  hash: number
  /** Of the last buckets that it was put into; none when its digest is newer than they are. */
  mark: object | undefined
}

/** What `find` is asked for: type, mode, inode, size, time of the last change, path; of a link then where it leads. */
export const findFormat = { all: String.raw`%y %m %i %s %C@ %P\0`, links: String.raw`%l\0` }
const entryLine = /^([fdl]) ([0-7]+) \d+ (\d+) ([\d.]+) ([^\0]+)\0(?:([^\0]*)\0)?$/
const kinds: Record<string, FolderEntry['kind']> = { f: 'file', d: 'folder', l: 'link' }

/** Where the line that begins at a place ends, with that of a link's target; -1 when not all of it is there. */
export function endOf(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(0, at)
  const last = end >= 0 && bytes[at] === link ? bytes.indexOf(0, end + 1) : end
  return last < 0 ? -1 : last + 1
}
const link = 'l'.charCodeAt(0)

/** The same file, of which only what `find` says is known. */
export const unread = (entry: FoundEntry): FoundEntry => ({ ...entry, content: '', digest: '', mark: undefined })

/** The entry that a line tells of, none of what is neither file, folder nor link, or has a name or target that is not UTF-8. */
export function entryOfLine(line: Buffer): { entry: FoundEntry | undefined; isUnnamed: boolean } {
  const text = line.toString()
  if (text.includes('\uFFFD')) return { entry: undefined, isUnnamed: true }
  const match = entryLine.exec(text)
  if (!match) return { entry: undefined, isUnnamed: false }
  const [, letter = '', mode = '', sizeBytes, changed, path = '', target = ''] = match
  const kind = kinds[letter] as FolderEntry['kind']
  const entry: FoundEntry = {
    path,
    kind,
    mode: kind === 'link' ? 0 : Number.parseInt(mode, 8) & 0o777,
    sizeBytes: kind === 'file' ? Number(sizeBytes) : 0,
    content: target,
    digest: '',
    changedAtMs: Number(changed) * 1000,
    isSettled: kind !== 'file',
    hash: pathHash(path),
    mark: undefined,
  }
  if (kind !== 'file') entry.digest = entryDigest(entry)
  return { entry, isUnnamed: false }
}
