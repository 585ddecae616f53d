import { fileTypeMask, fileTypes } from '../erofs/format.js'
import { shownXattrs, type Node } from '../erofs/overlay.js'

const pieceSize = 1024 ** 2
const pieces = [Buffer.alloc(pieceSize), Buffer.alloc(pieceSize)] as const

export const typeOf = ({ inode }: Node): number => inode.mode & fileTypeMask

/** Mode, owner and extended attributes; times are left out: a file that was only touched has not changed. */
export function sameAttributes(a: Node, b: Node): boolean {
  if (a.inode.mode !== b.inode.mode || a.inode.uid !== b.inode.uid || a.inode.gid !== b.inode.gid) return false
  const before = shownXattrs(a)
  const after = new Map(shownXattrs(b))
  return before.length === after.size && before.every(([name, value]) => after.get(name)?.equals(value) ?? false)
}

/** Data of files and links, numbers of devices; of directories what they are, not what is in them. */
export function sameContent(a: Node, b: Node): boolean {
  if (a.layer === b.layer && a.inode.number === b.inode.number) return true
  const type = typeOf(a)
  if (type !== typeOf(b)) return false
  if (type === fileTypes.regular || type === fileTypes.symlink) return sameBytes(a, b)
  return type !== fileTypes.character && type !== fileTypes.block ? true : a.inode.union === b.inode.union
}

function sameBytes(a: Node, b: Node): boolean {
  const { size } = a.inode
  if (size !== b.inode.size) return false
  for (let at = 0; at < size; at += pieceSize) {
    const length = Math.min(pieceSize, size - at)
    a.layer.read(a.inode, pieces[0], 0, length, at)
    b.layer.read(b.inode, pieces[1], 0, length, at)
    if (pieces[0].compare(pieces[1], 0, length, 0, length) !== 0) return false
  }
  return true
}
