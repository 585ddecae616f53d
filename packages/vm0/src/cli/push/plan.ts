import type { FolderEntry } from '@vm0/contract/client'
import { isSame } from '../../transfer/sync/plan.js'

export interface PushPlan<T extends FolderEntry> {
  /** To be sent, folders before what they hold. */
  send: { entry: T; change: 'added' | 'changed' }[]
  /** Changed or deleted in the session and not here: `vm0 pull` brings that. */
  theirs: string[]
  /** Changed on both sides: not overwritten unless that is forced. */
  conflicts: string[]
  /** Sent or pulled before, gone from here, and in the session still as it was. */
  gone: FolderEntry[]
}

/**
 * What pushing does to a session. `noted` tells the content that here and there had in common when they last met; what
 * differs from it was changed since, by whom shows the side. Without a note nobody knows, and nothing is overwritten.
 */
export function planPush<T extends FolderEntry>(
  here: readonly T[],
  there: ReadonlyMap<string, FolderEntry>,
  noted: (entry: T) => string | undefined,
  gone: ReadonlyMap<string, string | undefined>,
  { force }: { force: boolean },
): PushPlan<T> {
  const plan: PushPlan<T> = { send: [], theirs: [], conflicts: [], gone: [] }
  for (const entry of here) {
    const other = there.get(entry.path)
    if (other && (isSame(entry, other) || (entry.kind === 'folder' && other.kind === 'folder'))) continue
    const base = entry.kind === 'folder' ? undefined : noted(entry)
    const isMine = base !== entry.content
    const isTheirs = base === undefined ? other !== undefined : other?.content !== base
    // A folder of the session is never given up for a file, not even by force.
    const losesFolder = other?.kind === 'folder'
    if (!losesFolder && (force || !isTheirs)) plan.send.push({ entry, change: other ? 'changed' : 'added' })
    else if (isMine || losesFolder) plan.conflicts.push(entry.path)
    else plan.theirs.push(entry.path)
  }
  for (const [path, base] of gone) {
    const other = there.get(path)
    if (!other || other.kind === 'folder') continue
    if (other.content === base) plan.gone.push(other)
    else plan.theirs.push(path)
  }
  return plan
}
