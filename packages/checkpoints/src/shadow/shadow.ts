import type { Shadowed } from '@vm0/contract'
import { fileTypes } from '../erofs/format.js'
import { look, rootOf, type Node } from '../erofs/overlay.js'
import type { ErofsReader } from '../erofs/reader.js'
import { typeOf } from '../diff/compare.js'
import { differences, type Difference } from '../diff/walk.js'

export interface Templates {
  /** The session's, the topmost first. */
  layers: readonly ErofsReader[]
  /** The template that they lie over, and the one that they are to lie over. */
  before: ErofsReader
  after: ErofsReader
}

/** Every file that the two templates have otherwise and that the session goes on seeing as its own layers have it. */
export function findShadowed({ layers, before, after }: Templates, limit: number): Shadowed {
  const pair = {
    before: { own: [rootOf(before)], open: false },
    after: { own: [rootOf(after)], open: false },
    shared: [],
  }
  const roots = layers.map(rootOf)
  const found: Shadowed = { items: [], more: false }
  for (const difference of differences(pair, { under: [], after: [] })) {
    const shown = shownBy(roots, difference.path)
    if (shown === 'template' || (isDirectoryOnly(difference) && (difference.before || shown === 'directory'))) continue
    if (found.items.length >= limit) return { ...found, more: true }
    const session = shown === 'removed' ? 'removed' : 'changed'
    found.items.push({ path: shownPath(difference.path), template: changeOf(difference), session })
  }
  return found
}

/** What a session shows at a path: what its template has there, or a directory or else of its layers, or nothing. */
function shownBy(roots: readonly Node[], path: readonly string[]): 'template' | 'directory' | 'changed' | 'removed' {
  let nodes = roots
  let open = true
  for (const [depth, name] of path.entries()) {
    const found = look(named(nodes, name))
    const isLast = depth === path.length - 1
    if (found.kind === 'directory') {
      if (isLast) return 'directory'
      nodes = found.merged
      open &&= !found.closed
    } else if (found.kind === 'file') return isLast ? 'changed' : 'removed'
    else return open && found.kind !== 'whiteout' ? 'template' : 'removed'
  }
  return 'template'
}

function named(directories: readonly Node[], name: string): Node[] {
  return directories.flatMap(({ layer, inode }) => {
    const entry = layer.entry(inode, name)
    return entry ? [{ layer, inode: layer.inode(entry.inode) }] : []
  })
}

/** A directory on both sides, or on the one that has it: what is in it is looked at by itself, and it may be empty. */
const isDirectoryOnly = ({ before, after }: Difference): boolean =>
  [before, after].every((node) => !node || typeOf(node) === fileTypes.directory)

const changeOf = ({ before, after }: Difference): Shadowed['items'][number]['template'] =>
  !before ? 'added' : !after ? 'removed' : 'changed'

const shownPath = (path: readonly string[]): string => `/${Buffer.from(path.join('/'), 'latin1').toString('utf8')}`
