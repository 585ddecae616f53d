import { Vm0Error, type FolderEntry } from '@vm0/contract/client'

export interface TransferPlan<T extends FolderEntry> {
  /** What the other side lacks or has otherwise, folders before what they hold. */
  send: T[]
  /** What only the other side has, what is in a folder before it. */
  extra: FolderEntry[]
}

export const isSame = (a: FolderEntry, b: FolderEntry): boolean =>
  a.kind === b.kind && a.mode === b.mode && a.content === b.content

/** What makes the other side have everything that is here. */
export function planTransfer<T extends FolderEntry>(
  here: readonly T[],
  there: ReadonlyMap<string, FolderEntry>,
): TransferPlan<T> {
  const send = here.filter((entry) => {
    const other = there.get(entry.path)
    return !other || !isSame(entry, other)
  })
  const known = new Set(here.map(({ path }) => path))
  const extra = [...there.values()].filter(({ path }) => !known.has(path))
  return { send, extra: extra.toSorted((a, b) => (a.path < b.path ? 1 : -1)) }
}

/** A folder is given up for a file of its name only when what is in it may go. */
export function refuseLostFolders(
  here: readonly FolderEntry[],
  there: ReadonlyMap<string, FolderEntry>,
  hint: string,
): void {
  const lost = here.find(({ path, kind }) => kind !== 'folder' && there.get(path)?.kind === 'folder')
  if (lost)
    throw new Vm0Error('FILE_INVALID', `${lost.path} is a ${lost.kind} here, and a folder in the session`, { hint })
}

/** More than this may be room that what is sent needs. */
const maxBytesMeanwhile = 16 * 1024 ** 2

/** Whether what is removed may go while others are sent: it is little, and nothing comes in the place of a folder that it is in. */
export function mayGoMeanwhile(removed: readonly FolderEntry[], sent: readonly FolderEntry[]): boolean {
  const bytes = removed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const places = new Set(sent.flatMap(({ path, kind }) => (kind === 'folder' ? [] : [path])))
  const isBelow = (path: string): boolean => {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1))
      if (places.has(path.slice(0, end))) return true
    return false
  }
  return bytes <= maxBytesMeanwhile && !removed.some(({ path }) => isBelow(path))
}
