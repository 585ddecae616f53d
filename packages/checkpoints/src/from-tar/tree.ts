import { Vm0Error } from '@vm0/contract'
import type { Attributes } from '../erofs/format.js'
import type { Extent } from '../tar/sparse.js'

/** What one or more names of a layer show. */
export interface FileNode {
  kind: 'file' | 'symlink' | 'fifo'
  attributes: Omit<Attributes, 'nlink'>
  /** Names of it. */
  links: number
  /** Bytes of a file; where they lie in the spool, and where they belong when it has holes. */
  size: number
  spoolAt: number
  extents?: Extent[]
  /** Of a symbolic link. */
  target?: Uint8Array
  /** In the image, once it is there. */
  number?: number
}

export interface DirectoryNode {
  kind: 'directory'
  attributes: Omit<Attributes, 'nlink'>
  opaque: boolean
  children: Map<string, Node>
  /** Named by an entry, not only by the path of another one. */
  named: boolean
}

export type Node = FileNode | DirectoryNode | { kind: 'whiteout' }

const directoryMode = 0o040755

export function emptyDirectory(): DirectoryNode {
  const attributes = {
    mode: directoryMode,
    uid: 0,
    gid: 0,
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    xattrs: new Uint8Array(),
  }
  return { kind: 'directory', attributes, opaque: false, children: new Map(), named: false }
}

/** What the entries of a tar make together: names only, no file system, so that nothing can lead out of it. Paths are latin1 views of bytes. */
export class LayerTree {
  readonly root = emptyDirectory()

  directory(path: string, attributes: DirectoryNode['attributes']): void {
    const node = this.folder(path)
    if (node.named) throw twice(path)
    node.attributes = attributes
    node.named = true
  }

  opaque(path: string): void {
    this.folder(path).opaque = true
  }

  add(path: string, node: Node): void {
    const slash = path.lastIndexOf('/')
    const { children } = this.folder(path.slice(0, Math.max(0, slash)))
    const name = path.slice(slash + 1)
    if (name === '' || children.has(name)) throw twice(path)
    children.set(name, node)
  }

  /** The file that an earlier entry made. */
  file(path: string): FileNode {
    const slash = path.lastIndexOf('/')
    const node = this.folder(path.slice(0, Math.max(0, slash))).children.get(path.slice(slash + 1))
    if (!node || node.kind === 'directory' || node.kind === 'whiteout')
      throw new Vm0Error(
        'ARCHIVE_INVALID',
        `a hard link names ${show(path)}; expected a file of the same layer before it`,
      )
    return node
  }

  private folder(path: string): DirectoryNode {
    let node = this.root
    if (path === '') return node
    for (const name of path.split('/')) {
      let next = node.children.get(name)
      if (!next) node.children.set(name, (next = emptyDirectory()))
      if (next.kind !== 'directory')
        throw new Vm0Error('ARCHIVE_INVALID', `the path ${show(path)} goes through ${show(name)}, which is no folder`)
      node = next
    }
    return node
  }
}

const show = (path: string): string => JSON.stringify(Buffer.from(path, 'latin1').toString('utf8').slice(0, 200))
const twice = (path: string): Vm0Error => new Vm0Error('ARCHIVE_INVALID', `the layer names ${show(path)} twice`)
