import { fileTypeMask, fileTypes } from '../erofs/format.js'
import { isDirectory, isWhiteout, type ErofsReader, type ImageInode } from '../erofs/reader.js'

export interface LayerEntry {
  /** A latin1 view of the path's bytes from the layer's root, which is ''. */
  path: string
  kind: 'directory' | 'file' | 'link' | 'symlink' | 'fifo' | 'whiteout' | 'opaque'
  inode: ImageInode
  /** Of a link: the path of the first name of its inode. */
  target?: string
}

/** What is in a layer, each directory before what is in it. Sockets and devices are the host's affair and not among it. */
export function* layerEntries(layer: ErofsReader): Generator<LayerEntry> {
  const firstNames = new Map<number, string>()
  function* visit(path: string, inode: ImageInode): Generator<LayerEntry> {
    yield { path, kind: 'directory', inode }
    if (layer.xattrs(inode).some(([name, value]) => name === 'trusted.overlay.opaque' && value[0] === 0x79))
      yield { path, kind: 'opaque', inode }
    for (const entry of layer.directory(inode)) {
      const inside = path === '' ? entry.name : `${path}/${entry.name}`
      const child = layer.inode(entry.inode)
      if (isWhiteout(child)) yield { path: inside, kind: 'whiteout', inode: child }
      else if (isDirectory(child)) yield* visit(inside, child)
      else {
        const kind = kindOf(child)
        if (kind === undefined) continue
        const target = firstNames.get(child.number)
        if (target !== undefined) yield { path: inside, kind: 'link', inode: child, target }
        else {
          if (child.nlink > 1) firstNames.set(child.number, inside)
          yield { path: inside, kind, inode: child }
        }
      }
    }
  }
  yield* visit('', layer.inode(layer.root))
}

function kindOf({ mode }: ImageInode): 'file' | 'symlink' | 'fifo' | undefined {
  const type = mode & fileTypeMask
  if (type === fileTypes.regular) return 'file'
  if (type === fileTypes.symlink) return 'symlink'
  return type === fileTypes.fifo ? 'fifo' : undefined
}
