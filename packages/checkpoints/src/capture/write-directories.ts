import { directorySize, type DirectoryEntry } from '../erofs/directory.js'
import { fileTypes, hidingBelow, type Attributes } from '../erofs/format.js'
import type { ErofsImage } from '../erofs/image.js'
import type { AttributeSpool } from './attribute-spool.js'
import { hidesBelow, type Plan } from './compare.js'
import { kinds, type Tree } from './tree.js'

const whiteoutAttributes: Attributes = {
  mode: fileTypes.character,
  uid: 0,
  gid: 0,
  nlink: 1,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  xattrs: new Uint8Array(),
}

/**
 * Writes the directories of a layer whose other inodes are in the image, and completes it; returns its size. Handles of
 * the tree: a directory's attributes in the spool, another entry's number in the image. All whiteouts are one inode.
 */
export function writeDirectories(tree: Tree, plan: Plan, spool: AttributeSpool, image: ErofsImage): number {
  const removed = new Map<number, string[]>()
  for (const { directory, name } of plan.removed) {
    const names = removed.get(directory)
    if (names) names.push(name)
    else removed.set(directory, [name])
  }
  const included = (directory: number): number[] => {
    const children: number[] = []
    const end = tree.end(directory)
    for (let index = directory + 1; index < end; index = tree.end(index))
      if (plan.included[index] !== 0) children.push(index)
    return children
  }
  const eachDirectory = (use: (directory: number, parent: number, children: number[]) => void): void => {
    const visit = (directory: number, parent: number): void => {
      const children = included(directory)
      use(directory, parent, children)
      for (const index of children) if (tree.isDirectory(index)) visit(index, directory)
    }
    visit(0, 0)
  }
  const attributesOf = (directory: number): Attributes => {
    const attributes = spool.get(tree.handle[directory] as number)
    return (plan.included[directory] as number) & hidesBelow ? hidingBelow(attributes) : attributes
  }

  const numbers = new Float64Array(tree.count)
  const dataBlocks = new Uint32Array(tree.count)
  eachDirectory((directory, _parent, children) => {
    const names = [...children.map((index) => tree.name(index)), ...(removed.get(directory) ?? [])]
    const { xattrs } = attributesOf(directory)
    const size = directorySize(names)
    const place = directory === 0 ? image.reserveRoot(xattrs.length, size) : image.reserveDirectory(xattrs.length, size)
    numbers[directory] = place.number
    dataBlocks[directory] = place.dataBlock
  })

  let whiteout = 0
  const whiteoutEntry = (name: string): DirectoryEntry => {
    whiteout ||= image.special(whiteoutAttributes)
    return { name, inode: whiteout, mode: fileTypes.character }
  }
  const entryOf = (index: number): DirectoryEntry => {
    const kind = tree.kind(index)
    const name = tree.name(index)
    if (kind === kinds.whiteout) return whiteoutEntry(name)
    const inode = (kind === kinds.directory ? numbers[index] : tree.handle[index]) as number
    return { name, inode, mode: kind << 12 }
  }
  eachDirectory((directory, parent, children) => {
    const number = numbers[directory] as number
    const entries = [
      { name: '.', inode: number, mode: fileTypes.directory },
      { name: '..', inode: numbers[parent] as number, mode: fileTypes.directory },
      ...children.map(entryOf),
      ...(removed.get(directory) ?? []).map(whiteoutEntry),
    ]
    const nlink = 2 + children.filter((index) => tree.isDirectory(index)).length
    const place = { number, dataBlock: dataBlocks[directory] as number }
    image.writeDirectory(place, { ...attributesOf(directory), nlink }, entries)
  })
  return image.finish()
}
