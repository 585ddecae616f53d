import { cutFromBytes, type FolderEntry } from '@vm0/contract/client'
import { packBytes } from '../sync/packs.js'

/** Of those that move by themselves. */
export const largeAtOnce = 2

/** Whether a file moves by itself: in pieces where the other side has one in its place, and so that it can go on after a break. */
export function isLarge(
  { kind, sizeBytes }: Pick<FolderEntry, 'kind' | 'sizeBytes'>,
  other: Pick<FolderEntry, 'kind' | 'sizeBytes'> | undefined,
): boolean {
  if (kind !== 'file' || other?.kind === 'folder') return false
  return (
    sizeBytes >= packBytes || (sizeBytes >= cutFromBytes && other?.kind === 'file' && other.sizeBytes >= cutFromBytes)
  )
}
