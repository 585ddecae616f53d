import { readSync } from 'node:fs'
import { AttributeSpool } from '../capture/attribute-spool.js'
import { hidesBelow, inLayer, type Plan } from '../capture/compare.js'
import { kinds, Tree } from '../capture/tree.js'
import { writeDirectories } from '../capture/write-directories.js'
import type { ErofsImage } from '../erofs/image.js'
import type { DirectoryNode, FileNode, LayerTree } from './tree.js'

const kindOf = { file: kinds.regular, symlink: kinds.symlink, fifo: kinds.fifo }

/** Writes the tree as an erofs image; returns its size. */
export function buildImage({ root }: LayerTree, spool: number, image: ErofsImage): number {
  const tree = new Tree()
  const attributes = new AttributeSpool()
  const hiding = new Set<number>()
  const directory = (name: string, node: DirectoryNode): void => {
    const index = tree.add(name, kinds.directory, 0, 0, 0)
    tree.handle[index] = attributes.add({ ...node.attributes, nlink: 1 })
    if (node.opaque) hiding.add(index)
    for (const [inside, child] of [...node.children].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      if (child.kind === 'directory') directory(inside, child)
      else if (child.kind === 'whiteout') tree.add(inside, kinds.whiteout, 0, 0, 0)
      else {
        const at = tree.add(inside, kindOf[child.kind], 0, 0, 0)
        tree.handle[at] = child.number ??= writeFile(child, spool, image)
      }
    }
    tree.close(index)
  }
  directory('', root)
  const plan: Plan = { included: new Uint8Array(tree.count).fill(inLayer), removed: [] }
  for (const index of hiding) plan.included[index] = inLayer | hidesBelow
  return writeDirectories(tree, plan, attributes, image)
}

function writeFile(node: FileNode, spool: number, image: ErofsImage): number {
  const { kind, size, spoolAt, extents, links } = node
  const attributes = { ...node.attributes, nlink: links }
  if (kind === 'fifo') return image.special(attributes)
  if (kind === 'symlink') return image.symlink(attributes, node.target as Uint8Array)
  if (!extents)
    return image.regular(attributes, {
      size,
      read: (buffer, offset, length, position) =>
        readSync(spool, buffer, offset, Math.min(length, Math.max(0, size - position)), spoolAt + position),
    })
  const starts: number[] = []
  let packed = spoolAt
  for (const { start, end } of extents) {
    starts.push(packed)
    packed += end - start
  }
  const read = (buffer: Buffer, offset: number, length: number, position: number): number => {
    const until = Math.min(size, position + length)
    buffer.fill(0, offset, offset + until - position)
    for (let n = firstAfter(extents, position); n < extents.length; n++) {
      const { start, end } = extents[n] as { start: number; end: number }
      if (start >= until) break
      const from = Math.max(start, position)
      const count = Math.min(end, until) - from
      readSync(spool, buffer, offset + from - position, count, (starts[n] as number) + from - start)
    }
    return until - position
  }
  return image.regular(attributes, { size, extents, read })
}

/** The first range that ends after a position. */
function firstAfter(extents: readonly { end: number }[], position: number): number {
  let [low, high] = [0, extents.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((extents[middle] as { end: number }).end > position) high = middle
    else low = middle + 1
  }
  return low
}
