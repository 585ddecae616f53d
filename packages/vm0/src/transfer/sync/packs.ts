import type { FolderEntry } from '@vm0/contract/client'

/** What is lost when a connection breaks is sent again: so little of it. */
export const packBytes = 32 * 1024 ** 2
const packEntries = 4_000
export const packsAtOnce = 3

/** Entries in packs that each move as one archive. A file that is larger than a pack has one for itself. */
export function packsOf<T extends Pick<FolderEntry, 'sizeBytes'>>(entries: readonly T[]): T[][] {
  const packs: T[][] = []
  let bytes = Infinity
  for (const entry of entries) {
    const last = packs.at(-1)
    if (last && last.length < packEntries && bytes + entry.sizeBytes <= packBytes) last.push(entry)
    else {
      packs.push([entry])
      bytes = 0
    }
    bytes += entry.sizeBytes
  }
  return packs
}
