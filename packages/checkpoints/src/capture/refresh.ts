import { OpenDirectory } from './open-directory.js'
import type { Stamps } from './stamps.js'
import { listDirectory, statAt, SystemCallFailed, xattrsOf, type Listed } from './syscalls.js'
import { kinds, Tree } from './tree.js'

export interface RefreshOptions {
  /** An open descriptor of the root. */
  root: number
  stamps: Stamps
  /** Nobody writes: every stamp is final, and what can't be read is an error. */
  frozen: boolean
  /** Milliseconds since 1970; while not frozen, what changed at this time or later counts as unknown, for it may change again in the same tick of the clock. */
  settledBeforeMs: number
}

/** The tree of a directory as it is now. Of the tree that was known before, what has the same stamp isn't read again. */
export function refreshTree(known: Tree | undefined, options: RefreshOptions): Tree {
  return new Refresh(known ?? new Tree(0), options).run()
}

class Refresh {
  private readonly tree: Tree
  private readonly characterDevices = new Map<number, number>()

  constructor(
    private readonly known: Tree,
    private readonly options: RefreshOptions,
  ) {
    this.tree = new Tree(known.count + 1024)
  }

  run(): Tree {
    const root = OpenDirectory.root(this.options.root)
    const { ino } = statAt(root.fd, '')
    const before = this.known.count > 0 ? 0 : -1
    const index = this.add('', kinds.directory, ino, before, root, '')
    this.children(index, before, root)
    this.tree.close(index)
    return this.tree
  }

  /** Adds an entry with its stamp, and what was known of it where nothing happened to it since. */
  private add(name: string, kind: number, ino: number, before: number, directory: OpenDirectory, at: string): number {
    const { stamps, frozen, settledBeforeMs } = this.options
    this.attempt(() => stamps.load(ino, directory, at))
    let { seconds, nanoseconds } = stamps
    if (!frozen && seconds * 1000 + nanoseconds / 1e6 >= settledBeforeMs) seconds = nanoseconds = 0
    const index = this.tree.add(name, kind, ino, seconds, nanoseconds)
    if (before >= 0 && this.isUnchanged(index, before)) this.tree.handle[index] = this.known.handle[before] as number
    return index
  }

  private isUnchanged(index: number, before: number): boolean {
    return (
      before >= 0 &&
      this.tree.isKnown(index) &&
      this.tree.ino(index) === this.known.ino(before) &&
      this.tree.sameStamp(index, this.known, before)
    )
  }

  private children(index: number, before: number, directory: OpenDirectory): void {
    if (this.isUnchanged(index, before)) {
      this.keepAll(before, directory)
      return
    }
    const listed = this.attempt(() => listDirectory(directory.fd))
    if (!listed) return this.tree.setStamp(index, 0, 0)
    let child = before < 0 ? 0 : before + 1
    const end = before < 0 ? 0 : this.known.end(before)
    for (const entry of listed) {
      while (child < end && this.known.name(child) < entry.name) child = this.known.end(child)
      const same = child < end && this.known.name(child) === entry.name && this.known.ino(child) === entry.ino
      this.look(entry, same ? child : -1, directory)
    }
  }

  /** The entries of a directory whose list of names is the known one. */
  private keepAll(before: number, directory: OpenDirectory): void {
    const { known } = this
    const end = known.end(before)
    for (let child = before + 1; child < end;) {
      const first = child
      if (this.options.stamps.loadByNumber) while (child < end && !known.isDirectory(child)) child += 1
      if (child > first) this.keepLeaves(first, child)
      else {
        this.keep(child, directory)
        child = known.end(child)
      }
    }
  }

  /** Entries that follow each other, none of them a directory: only their stamps are looked at. */
  private keepLeaves(from: number, to: number): void {
    const { known, tree } = this
    const { stamps, frozen, settledBeforeMs } = this.options
    const first = tree.addLeaves(known, from, to)
    for (let before = from, index = first; before < to; before++, index++) {
      stamps.loadByNumber?.(known.ino(before))
      const { seconds, nanoseconds } = stamps
      if (frozen || seconds * 1000 + nanoseconds / 1e6 < settledBeforeMs) tree.setStamp(index, seconds, nanoseconds)
      if (this.isUnchanged(index, before)) tree.handle[index] = known.handle[before] as number
    }
  }

  /** An entry of a directory whose list of names is the known one. */
  private keep(before: number, directory: OpenDirectory): void {
    const name = this.known.name(before)
    this.entry(name, this.known.kind(before), this.known.ino(before), before, directory)
  }

  private look({ name, ino, type }: Listed, before: number, directory: OpenDirectory): void {
    const kind = type === kinds.character || type === 0 ? this.askKind(ino, name, directory) : type
    this.entry(name, kind, ino, before, directory)
  }

  private entry(name: string, kind: number, ino: number, before: number, directory: OpenDirectory): void {
    if (kind !== kinds.directory) {
      this.add(name, kind, ino, before, directory, name)
      return
    }
    const inside = directory.child(name)
    const index = this.add(name, kind, ino, before, directory, name)
    try {
      if (this.isUnchanged(index, before)) this.tree.setOpaque(index, this.known.isOpaque(before))
      else this.examine(index, ino, inside)
      this.children(index, before, inside)
    } finally {
      inside.close()
    }
    this.tree.close(index)
  }

  /** Whether a new or changed directory hides the one below it. */
  private examine(index: number, ino: number, inside: OpenDirectory): void {
    const opaque = this.attempt(() => {
      // While nobody is frozen, another directory may have taken its name since.
      if (statAt(inside.fd, '').ino !== ino) return undefined
      return xattrsOf(inside.fd).some(([name, value]) => name === 'trusted.overlay.opaque' && value[0] === 0x79)
    })
    if (opaque === undefined) this.tree.setStamp(index, 0, 0)
    this.tree.setOpaque(index, opaque === true)
  }

  private askKind(ino: number, name: string, directory: OpenDirectory): number {
    const found = this.characterDevices.get(ino)
    if (found !== undefined) return found
    const status = this.attempt(() => statAt(directory.fd, name))
    const type = status ? status.mode >> 12 : kinds.character
    const kind = type === kinds.character && status?.major === 0 && status.minor === 0 ? kinds.whiteout : type
    if (type === kinds.character) this.characterDevices.set(ino, kind)
    return kind
  }

  /** While nobody is frozen, an entry may be gone or be something else by now: the round under the freeze looks again. */
  private attempt<T>(look: () => T): T | undefined {
    try {
      return look()
    } catch (error) {
      if (this.options.frozen || !(error instanceof SystemCallFailed)) throw error
      return undefined
    }
  }
}
