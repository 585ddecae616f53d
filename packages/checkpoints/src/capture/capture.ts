import type { ErofsImage } from '../erofs/image.js'
import { AttributeSpool } from './attribute-spool.js'
import { compareTrees, includeLinks, type Plan } from './compare.js'
import { attributesOf, copyEntry, Moved } from './image-copy.js'
import type { EarlierFiles } from './earlier-files.js'
import { InodeTable } from './inode-table.js'
import { OpenDirectory } from './open-directory.js'
import { refreshTree } from './refresh.js'
import { AskedStamps } from './stamps.js'
import { statAt, syncFileSystem, SystemCallFailed, xattrsOf } from './syscalls.js'
import { kinds, type Tree } from './tree.js'
import { writeDirectories } from './write-directories.js'

/** A change within one tick of the kernel's coarse clock leaves the ctime as it is; a tick is at most 10 ms. */
export const clockTickMs = 12

/**
 * Makes a layer of what changed in an upper since the last checkpoint, in rounds: `copyWhileLive` as often as it pays,
 * while the sandbox goes on; then `copyFrozen` once, under the freeze, which copies again only what changed meanwhile;
 * then, after the thaw, `writeDirectories`.
 *
 * Each round begins by writing out dirty pages: a store through a shared mapping moves the ctime only when it is the
 * first one to a clean page. So what is copied after that, with a ctime from before it, is either final or noticed.
 */
export class Capture {
  private readonly spool = new AttributeSpool()
  /** Inodes with several names that are in the image, by their inode number. */
  private readonly links = new Map<number, { number: number; seconds: number; nanoseconds: number }>()
  private tree: Tree
  private plan: Plan = { included: new Uint8Array(), removed: [] }

  constructor(
    private readonly root: number,
    private readonly saved: Tree,
    private readonly image: ErofsImage,
    private readonly earlier: EarlierFiles,
  ) {
    this.tree = saved
  }

  /** The index for the next checkpoint. */
  get index(): Tree {
    return this.tree
  }

  /** What the layer holds, directories apart, whiteouts included. */
  get changedEntries(): number {
    let count = this.plan.removed.length
    for (let index = 0; index < this.tree.count; index++)
      if (this.plan.included[index] !== 0 && !this.tree.isDirectory(index)) count += 1
    return count
  }

  get isEmpty(): boolean {
    return this.plan.removed.length === 0 && !this.plan.included.some((flags) => flags !== 0)
  }

  /** Whether the layer holds anything but directories and what is at or below these paths. */
  changesBeside(ignored: readonly string[]): boolean {
    const { tree, plan } = this
    const removed = new Map<number, string[]>()
    for (const { directory, name } of plan.removed) removed.set(directory, [...(removed.get(directory) ?? []), name])
    const holdsMore = (directory: number, path: string): boolean => {
      if (removed.get(directory)?.some((name) => !ignored.includes(path + name))) return true
      const end = tree.end(directory)
      for (let index = directory + 1; index < end; index = tree.end(index)) {
        if (plan.included[index] === 0) continue
        const at = path + tree.name(index)
        if (ignored.includes(at)) continue
        if (!tree.isDirectory(index) || holdsMore(index, `${at}/`)) return true
      }
      return false
    }
    return holdsMore(0, '')
  }

  copyWhileLive(): void {
    this.round(false)
  }

  copyFrozen(): void {
    this.round(true)
  }

  private round(frozen: boolean): void {
    const settledBeforeMs = Date.now() - clockTickMs
    syncFileSystem(this.root)
    const stamps = InodeTable.read(this.root) ?? new AskedStamps()
    this.tree = refreshTree(this.tree, { root: this.root, stamps, frozen, settledBeforeMs })
    this.plan = compareTrees(this.saved, this.tree)
    const root = OpenDirectory.root(this.root)
    this.copyChildren(0, root, frozen)
    if (this.links.size > 0) {
      // Further names of what was just copied, in directories that may have nothing else in the layer.
      includeLinks(this.tree, new Set(this.links.keys()), this.plan)
      this.copyChildren(0, root, frozen)
    }
  }

  private copyChildren(directory: number, at: OpenDirectory, frozen: boolean): void {
    const { tree, plan } = this
    this.attempt(directory, frozen, () => {
      if (tree.handle[directory] === 0)
        tree.handle[directory] = this.spool.add(attributesOf(statAt(at.fd, ''), xattrsOf(at.fd)))
    })
    const end = tree.end(directory)
    for (let index = directory + 1; index < end; index = tree.end(index)) {
      if (plan.included[index] === 0) continue
      if (tree.isDirectory(index)) {
        const inside = at.child(tree.name(index))
        try {
          this.copyChildren(index, inside, frozen)
        } finally {
          inside.close()
        }
      } else if (tree.handle[index] === 0 && tree.kind(index) !== kinds.whiteout) {
        // What isn't settled is copied under the freeze anyway.
        if (frozen || tree.isKnown(index)) this.attempt(index, frozen, () => this.copy(index, at))
      }
    }
  }

  private copy(index: number, directory: OpenDirectory): void {
    const { tree, links } = this
    const ino = tree.ino(index)
    const linked = links.get(ino)
    if (linked && linked.seconds === tree.seconds(index) && linked.nanoseconds === tree.nanoseconds(index)) {
      tree.handle[index] = linked.number
      return
    }
    const copied = copyEntry(this.image, tree, index, directory, this.earlier)
    tree.handle[index] = copied.number
    if (copied.links > 1)
      links.set(ino, { number: copied.number, seconds: tree.seconds(index), nanoseconds: tree.nanoseconds(index) })
  }

  /** While the sandbox goes on, anything may be gone or changed by the time that it is copied: the next round sees it. */
  private attempt(index: number, frozen: boolean, copy: () => void): void {
    try {
      copy()
    } catch (error) {
      if (frozen || !(error instanceof SystemCallFailed || error instanceof Moved)) throw error
      this.tree.setStamp(index, 0, 0)
    }
  }

  /** Writes the directories of the layer and completes the image; returns its size. */
  writeDirectories(): number {
    return writeDirectories(this.tree, this.plan, this.spool, this.image)
  }
}
