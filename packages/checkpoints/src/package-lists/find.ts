import { fileTypes } from '../erofs/format.js'
import { look, rootOf, type Node } from '../erofs/overlay.js'
import type { ErofsReader } from '../erofs/reader.js'
import { typeOf } from '../diff/compare.js'
import { mergeLists } from './merge.js'

/** What dpkg knows to be installed, and what apt installed only because something else needs it. */
export const listPaths = ['var/lib/dpkg/status', 'var/lib/apt/extended_states'] as const
/** A list is a sandbox's word: one that is larger stays as it is. */
export const maxListBytes = 32 * 1024 ** 2

export interface Templates {
  /** The session's, the topmost first. */
  layers: readonly ErofsReader[]
  /** The template that they lie over, and the one that they are to lie over. */
  before: ErofsReader
  after: ErofsReader
}

export interface Attributes {
  mode: number
  uid: number
  gid: number
  modifiedMs: number
}

export interface MergedList extends Attributes {
  /** From the root, without a slash in front. */
  path: string
  /** Its bytes, one a character. */
  text: string
  /** Of the folders that lead to it. */
  folders: Attributes[]
}

/** The lists that a session has of its own and that the two templates have otherwise, merged. */
export function mergedLists({ layers, before, after }: Templates): MergedList[] {
  const found: MergedList[] = []
  for (const path of listPaths) {
    const own = find(layers, path)
    const [base, template, session] = [find([before], path), find([after], path), own].map((each) => textOf(each?.node))
    if (!own || base === undefined || template === undefined || session === undefined || base === template) continue
    const text = mergeLists(base, template, session)
    if (text === undefined || text === session) continue
    found.push({ path, text, ...attributesOf(own.node), folders: own.folders.map(attributesOf) })
  }
  return found
}

/** What layers have at a path, and at the folders that lead there. */
function find(layers: readonly ErofsReader[], path: string): { node: Node; folders: Node[] } | undefined {
  const folders: Node[] = []
  let nodes: readonly Node[] = layers.map(rootOf)
  for (const name of path.split('/')) {
    const inside = nodes.flatMap(({ layer, inode }) => {
      const entry = layer.entry(inode, name)
      return entry ? [{ layer, inode: layer.inode(entry.inode) }] : []
    })
    const shown = look(inside)
    if (shown.kind === 'file')
      return folders.length === path.split('/').length - 1 ? { node: shown.top, folders } : undefined
    if (shown.kind !== 'directory') return undefined
    folders.push(shown.top)
    nodes = shown.merged
  }
  return undefined
}

function textOf(node: Node | undefined): string | undefined {
  if (!node || typeOf(node) !== fileTypes.regular || node.inode.size > maxListBytes) return undefined
  const bytes = Buffer.alloc(node.inode.size)
  node.layer.read(node.inode, bytes, 0, bytes.length, 0)
  return bytes.toString('latin1')
}

const attributesOf = ({ inode }: Node): Attributes => ({
  mode: inode.mode & 0o7777,
  uid: inode.uid,
  gid: inode.gid,
  modifiedMs: inode.mtimeSeconds * 1000,
})
