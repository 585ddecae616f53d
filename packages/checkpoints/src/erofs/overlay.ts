import { isDirectory, isWhiteout, type ErofsReader, type ImageInode } from './reader.js'

/** An inode of one of the layers. */
export interface Node {
  layer: ErofsReader
  inode: ImageInode
}

/** What a name shows through a stack of layers. */
export type Found =
  | { kind: 'nothing' | 'whiteout' }
  | { kind: 'file'; top: Node }
  /** `closed`: nothing that is further down shows through. */
  | { kind: 'directory'; top: Node; merged: Node[]; closed: boolean }

const opaqueName = 'trusted.overlay.opaque'

/** What the kernel's lookup finds for a name that these layers have, the topmost first. */
export function look(nodes: readonly Node[] | undefined): Found {
  const top = nodes?.[0]
  if (!nodes || !top) return { kind: 'nothing' }
  if (isWhiteout(top.inode)) return { kind: 'whiteout' }
  if (!isDirectory(top.inode)) return { kind: 'file', top }
  const merged: Node[] = []
  for (const node of nodes) {
    if (!isDirectory(node.inode)) return { kind: 'directory', top, merged, closed: true }
    merged.push(node)
    if (isOpaque(node)) return { kind: 'directory', top, merged, closed: true }
  }
  return { kind: 'directory', top, merged, closed: false }
}

const isOpaque = ({ layer, inode }: Node): boolean =>
  layer.xattrs(inode).some(([name, value]) => name === opaqueName && value[0] === 0x79)

export const rootOf = (layer: ErofsReader): Node => ({ layer, inode: layer.inode(layer.root) })

/** The attributes that a sandbox sees: what an overlay notes for itself is not among them. */
export const shownXattrs = ({ layer, inode }: Node): [name: string, value: Buffer][] =>
  layer.xattrs(inode).filter(([name]) => !name.startsWith('trusted.overlay.'))
