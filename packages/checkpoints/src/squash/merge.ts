import { AttributeSpool } from '../capture/attribute-spool.js'
import { hidesBelow, inLayer, type Plan } from '../capture/compare.js'
import { kinds, Tree } from '../capture/tree.js'
import { writeDirectories } from '../capture/write-directories.js'
import { encodeXattrs, fileTypeMask, fileTypes, type Attributes } from '../erofs/format.js'
import type { ErofsImage } from '../erofs/image.js'
import { look, rootOf, shownXattrs, type Node } from '../erofs/overlay.js'
import type { ErofsReader, ImageInode } from '../erofs/reader.js'

/**
 * Writes one layer that shows over `below` exactly what `layers` show over it (each the topmost first). A whiteout or an
 * opaque directory stays where there is something below to hide; elsewhere it must go, for overlays filter whiteouts in
 * merged directories only. Returns the size of the image. Paths from the root that are in `without` are left out; one that
 * ends in `/*` leaves the folder itself.
 */
export function mergeLayers(
  layers: readonly ErofsReader[],
  below: readonly ErofsReader[],
  image: ErofsImage,
  without: ReadonlySet<string> = new Set(),
): number {
  return new Merge(image, without).run(layers.map(rootOf), below.map(rootOf))
}

class Merge {
  private readonly tree = new Tree()
  private readonly spool = new AttributeSpool()
  private readonly hiding = new Set<number>()
  private readonly copied = new Map<ErofsReader, Map<number, number>>()

  constructor(
    private readonly image: ErofsImage,
    private readonly without: ReadonlySet<string>,
  ) {}

  run(layers: Node[], below: Node[]): number {
    const { tree } = this
    const root = tree.add('', kinds.directory, 0, 0, 0)
    tree.handle[root] = this.spool.add(attributesOf(layers[0] as Node))
    this.directory('', layers, below)
    tree.close(root)
    const plan: Plan = { included: new Uint8Array(tree.count).fill(inLayer), removed: [] }
    for (const index of this.hiding) plan.included[index] = inLayer | hidesBelow
    return writeDirectories(tree, plan, this.spool, this.image)
  }

  /** `path`: of the directory, from the root; empty, or with a slash at its end. */
  private directory(path: string, merged: readonly Node[], below: readonly Node[]): void {
    if (this.without.has(`${path}*`)) return
    const here = entriesOf(merged)
    const under = entriesOf(below)
    for (const name of [...here.keys()].toSorted((a, b) => (a < b ? -1 : 1))) {
      if (this.without.has(path + name)) continue
      const found = look(here.get(name))
      const hidden = look(under.get(name))
      if (found.kind === 'whiteout') {
        if (hidden.kind === 'file' || hidden.kind === 'directory') this.tree.add(name, kinds.whiteout, 0, 0, 0)
      } else if (found.kind === 'file') {
        const index = this.tree.add(name, (found.top.inode.mode & fileTypeMask) >> 12, 0, 0, 0)
        this.tree.handle[index] = this.copy(found.top)
      } else if (found.kind === 'directory') {
        const index = this.tree.add(name, kinds.directory, 0, 0, 0)
        this.tree.handle[index] = this.spool.add(attributesOf(found.top))
        if (found.closed && hidden.kind === 'directory') this.hiding.add(index)
        this.directory(
          `${path}${name}/`,
          found.merged,
          hidden.kind === 'directory' && !found.closed ? hidden.merged : [],
        )
        this.tree.close(index)
      }
    }
  }

  /** Its number in the image; names of one inode stay names of one. */
  private copy({ layer, inode }: Node): number {
    let numbers = this.copied.get(layer)
    if (!numbers) this.copied.set(layer, (numbers = new Map()))
    const known = numbers.get(inode.number)
    if (known !== undefined) return known
    const number = this.write({ layer, inode })
    if (inode.nlink > 1) numbers.set(inode.number, number)
    return number
  }

  private write(node: Node): number {
    const { layer, inode } = node
    const type = inode.mode & fileTypeMask
    const attributes = attributesOf(node)
    if (type === fileTypes.regular || type === fileTypes.symlink) {
      const extents = layer.extents(inode)
      return this.image.regular(attributes, {
        size: inode.size,
        read: (buffer, offset, length, position) => layer.read(inode, buffer, offset, length, position),
        ...(extents ? { extents } : {}),
      })
    }
    return this.image.special(attributes, ...devicePart(inode))
  }
}

function entriesOf(directories: readonly Node[]): Map<string, Node[]> {
  const entries = new Map<string, Node[]>()
  for (const { layer, inode } of directories) {
    for (const entry of layer.directory(inode)) {
      const node = { layer, inode: layer.inode(entry.inode) }
      const nodes = entries.get(entry.name)
      if (nodes) nodes.push(node)
      else entries.set(entry.name, [node])
    }
  }
  return entries
}

function attributesOf(node: Node): Attributes {
  const { mode, uid, gid, nlink, mtimeSeconds, mtimeNanoseconds } = node.inode
  return { mode, uid, gid, nlink, mtimeSeconds, mtimeNanoseconds, xattrs: encodeXattrs(shownXattrs(node)) }
}

/** Major and minor of a device, as `new_decode_dev` of the kernel. */
function devicePart({ mode, union }: ImageInode): [major: number, minor: number] {
  const type = mode & fileTypeMask
  if (type !== fileTypes.character && type !== fileTypes.block) return [0, 0]
  return [(union & 0xfff00) >>> 8, (union & 0xff) | ((union >>> 12) & 0xfff00)]
}
