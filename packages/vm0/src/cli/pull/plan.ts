export interface RemoteEntry {
  /** Below /workspace, with slashes. */
  name: string
  kind: 'folder' | 'file' | 'link'
}

export interface LocalState {
  kind: 'folder' | 'file' | 'link' | 'other'
  /** Same kind and content as in the session. */
  same: boolean
  /** As it was when the folder was sent or last pulled; false when nothing was noted of it. */
  untouched: boolean
}

export interface PullPlan {
  /** To be made or replaced, folders before what they hold. */
  write: { entry: RemoteEntry; change: 'added' | 'changed' }[]
  /** Already as in the session. */
  same: RemoteEntry[]
  /** Changed here too: not overwritten unless that is forced. */
  conflicts: string[]
  /** Sent or pulled before and gone from the session; `untouched` ones can be removed here without loss. */
  gone: { name: string; untouched: boolean }[]
}

/**
 * What pulling does to a local folder. An entry that is here and differs is replaced only when it is as it was noted at
 * the last sending or pulling; with `force` always.
 */
export function planPull(
  remote: readonly RemoteEntry[],
  local: (name: string) => LocalState | undefined,
  noted: Iterable<string>,
  { force }: { force: boolean },
): PullPlan {
  const plan: PullPlan = { write: [], same: [], conflicts: [], gone: [] }
  const blocked: string[] = []
  for (const entry of remote) {
    // What stands in a folder's place decides for all that it would hold.
    if (blocked.some((folder) => entry.name.startsWith(`${folder}/`))) continue
    const here = local(entry.name)
    const mayReplace = here && (force || (here.untouched && here.kind === entry.kind))
    // A whole folder is never given up for a file, not even by force.
    const losesFolder = here?.kind === 'folder' && entry.kind !== 'folder'
    if (!here) plan.write.push({ entry, change: 'added' })
    else if (here.same) plan.same.push(entry)
    else if (mayReplace && !losesFolder) plan.write.push({ entry, change: 'changed' })
    else {
      plan.conflicts.push(entry.name)
      if (entry.kind === 'folder') blocked.push(entry.name)
    }
  }
  const there = new Set(remote.map(({ name }) => name))
  for (const name of noted) {
    const here = there.has(name) ? undefined : local(name)
    if (here) plan.gone.push({ name, untouched: here.untouched })
  }
  return plan
}
