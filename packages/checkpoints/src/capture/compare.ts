import { kinds, Tree } from './tree.js'

/** What a new layer holds, for the entries of the tree as it is now. */
export interface Plan {
  /** Per entry: 0 stays out, 1 goes in, 3 goes in as a directory that hides the one below. */
  included: Uint8Array
  /** Names that were saved and are gone: each needs a whiteout in its directory (an entry of the tree). */
  removed: { directory: number; name: string }[]
}

export const inLayer = 1
export const hidesBelow = 2

/**
 * Decides which entries make the difference between what the last checkpoint has of an upper and what the upper has now.
 * Lower layers are below both: what upper and saved tree have alike is left to the earlier layers, which show it.
 */
export function compareTrees(saved: Tree, now: Tree): Plan {
  const plan: Plan = { included: new Uint8Array(now.count), removed: [] }
  compareDirectories(saved, saved.count > 0 ? 0 : -1, now, 0, plan)
  // Nothing was ever saved: the root's own attributes go in with the first thing that does.
  if (saved.count > 0 && !now.sameStamp(0, saved, 0)) plan.included[0] = inLayer
  return plan
}

/** Compares what is in two directories that show as one. Returns whether anything goes into the layer. */
function compareDirectories(saved: Tree, before: number, now: Tree, index: number, plan: Plan): boolean {
  let changed = false
  let old = before < 0 ? 0 : before + 1
  const oldEnd = before < 0 ? 0 : saved.end(before)
  const end = now.end(index)
  const remove = (entry: number): void => {
    plan.removed.push({ directory: index, name: saved.name(entry) })
    changed = true
  }
  for (let child = index + 1; child < end; child = now.end(child)) {
    let order = 1
    while (old < oldEnd && (order = saved.compareNames(old, now, child)) < 0) {
      remove(old)
      old = saved.end(old)
    }
    const match = old < oldEnd && order === 0 ? old : -1
    if (match >= 0) old = saved.end(old)
    if (compareEntries(saved, match, now, child, plan)) changed = true
  }
  for (; old < oldEnd; old = saved.end(old)) remove(old)
  if (changed) plan.included[index] = (plan.included[index] as number) | inLayer
  return changed
}

function compareEntries(saved: Tree, before: number, now: Tree, index: number, plan: Plan): boolean {
  if (before < 0) return includeAll(now, index, plan, false)
  const isDirectory = now.isDirectory(index)
  if (isDirectory !== saved.isDirectory(before)) return includeAll(now, index, plan, true)
  if (isDirectory) {
    // One that became opaque in place would hide what earlier layers hold of it: it is saved whole.
    if (now.isOpaque(index) !== saved.isOpaque(before)) return includeAll(now, index, plan, true)
    const inside = compareDirectories(saved, before, now, index, plan)
    if (inside || now.sameStamp(index, saved, before)) return inside
    plan.included[index] = inLayer
    return true
  }
  const kind = now.kind(index)
  const same =
    kind === saved.kind(before) &&
    // All whiteouts of an upper may be links to one inode, which changes with every deletion.
    (kind === kinds.whiteout || (now.ino(index) === saved.ino(before) && now.sameStamp(index, saved, before)))
  if (!same) plan.included[index] = inLayer
  return !same
}

/** A subtree that earlier layers don't have at this place. `hides`: what is below its top must not show through. */
function includeAll(now: Tree, top: number, plan: Plan, hides: boolean): true {
  const isDirectory = now.isDirectory(top)
  const hidesIt = isDirectory && (hides || now.isOpaque(top))
  plan.included[top] = hidesIt ? inLayer | hidesBelow : inLayer
  const end = now.end(top)
  for (let index = top + 1; index < end; index = now.end(index)) {
    // Where nothing is below, a whiteout would be one too many, and seen: overlays filter them in merged directories only.
    if (!hidesIt || now.kind(index) !== kinds.whiteout) includeAll(now, index, plan, hidesIt)
  }
  return true
}

/** Adds the entries that are further names of inodes in the layer, and the directories that lead to them: an inode with many names is saved with all of them. */
export function includeLinks(now: Tree, inodes: ReadonlySet<number>, plan: Plan): void {
  const visit = (index: number): boolean => {
    if (!now.isDirectory(index)) {
      if (inodes.has(now.ino(index)) && now.kind(index) !== kinds.whiteout) plan.included[index] = inLayer
      return plan.included[index] !== 0
    }
    let any = false
    const end = now.end(index)
    for (let child = index + 1; child < end; child = now.end(child)) if (visit(child)) any = true
    if (any) plan.included[index] = (plan.included[index] as number) | inLayer
    return plan.included[index] !== 0
  }
  visit(0)
}
