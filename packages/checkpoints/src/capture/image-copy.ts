import { readSync } from 'node:fs'
import { encodeXattrs, fileTypeMask, fileTypes, type Attributes } from '../erofs/format.js'
import type { ErofsImage } from '../erofs/image.js'
import type { EarlierFiles } from './earlier-files.js'
import type { OpenDirectory } from './open-directory.js'
import {
  closeFd,
  dataExtents,
  openFileAt,
  readLinkAt,
  statAt,
  xattrsAt,
  xattrsOf,
  type FileStatus,
  type Xattrs,
} from './syscalls.js'
import { kinds, type Tree } from './tree.js'

/** The inode isn't what the tree says any more. */
export class Moved extends Error {}

/** Copies an entry that isn't a directory into the image; returns its number there and how many names it has. */
export function copyEntry(
  image: ErofsImage,
  tree: Tree,
  index: number,
  directory: OpenDirectory,
  earlier: EarlierFiles,
): { number: number; links: number } {
  const name = tree.name(index)
  if (tree.kind(index) === kinds.regular) return copyFile(image, tree, index, directory, earlier)
  const status = statAt(directory.fd, name)
  mustBe(tree, index, status)
  const attributes = attributesOf(status, xattrsAt(directory.fd, name))
  const number =
    (status.mode & fileTypeMask) === fileTypes.symlink
      ? image.symlink(attributes, readLinkAt(directory.fd, name))
      : image.special(attributes, status.major, status.minor)
  return { number, links: status.nlink }
}

function copyFile(
  image: ErofsImage,
  tree: Tree,
  index: number,
  directory: OpenDirectory,
  earlier: EarlierFiles,
): { number: number; links: number } {
  const name = tree.name(index)
  const fd = openFileAt(directory.fd, name)
  try {
    const status = statAt(fd, '')
    mustBe(tree, index, status)
    const attributes = attributesOf(status, xattrsOf(fd))
    const sparse = status.blocks * 512 < status.size
    const read = (buffer: Buffer, offset: number, length: number, position: number): number =>
      readSync(fd, buffer, offset, length, position)
    const elsewhere = earlier.blocksOf(() => directory.path + name, status.size, read)
    const number = image.regular(attributes, {
      size: status.size,
      read,
      ...(elsewhere ? { elsewhere } : {}),
      ...(sparse ? { extents: dataExtents(fd, status.size) } : {}),
    })
    return { number, links: status.nlink }
  } finally {
    closeFd(fd)
  }
}

function mustBe(tree: Tree, index: number, status: FileStatus): void {
  const same =
    status.ino === tree.ino(index) &&
    status.ctimeSeconds >>> 0 === tree.seconds(index) &&
    status.ctimeNanoseconds === tree.nanoseconds(index)
  if (!same) throw new Moved(`${JSON.stringify(tree.name(index))} changed while it was looked at`)
}

/** As a layer holds them: without what the overlay notes for itself. */
export function attributesOf(status: FileStatus, xattrs: Xattrs): Attributes {
  const kept: Xattrs = []
  for (const [name, value] of xattrs) {
    if (name === 'trusted.overlay.redirect' || name === 'trusted.overlay.metacopy')
      throw new Error(`the overlay wrote ${name}: expected it to be mounted with redirect_dir=off,metacopy=off`)
    if (!name.startsWith('trusted.overlay.')) kept.push([name, value])
  }
  return {
    mode: status.mode,
    uid: status.uid,
    gid: status.gid,
    nlink: status.nlink,
    mtimeSeconds: status.mtimeSeconds,
    mtimeNanoseconds: status.mtimeNanoseconds,
    xattrs: encodeXattrs(kept),
  }
}
