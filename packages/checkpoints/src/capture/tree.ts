/** Kinds of entries: the type bits of st_mode shifted right by 12, and one that overlays use. */
export const kinds = {
  fifo: 1,
  character: 2,
  directory: 4,
  block: 6,
  regular: 8,
  symlink: 10,
  socket: 12,
  /** A character device 0/0: hides what lies below. */
  whiteout: 14,
} as const
/** Set on a directory that hides the one below it. */
const opaqueBit = 16

const magic = 0x31304d56 // VM01

/** Name and place of the columns' elements; the larger first, so that each is aligned in the file. */
interface Columns {
  ino: Float64Array
  seconds: Uint32Array
  nanoseconds: Uint32Array
  end: Uint32Array
  nameStart: Uint32Array
  kind: Uint8Array
}

/**
 * A directory tree in columns, parents before children and siblings in the order of their names' bytes: some forty bytes
 * an entry, so that a million files fit in what one runner may use. Entry 0 is the root.
 *
 * The stamp of an entry (seconds and nanoseconds of its ctime) changes with everything that happens to its inode; 0/0 is
 * that of one whose state isn't known.
 */
export class Tree {
  count = 0
  private capacity: number
  private columns: Columns
  private names: Buffer
  /** What a capture knows of the entry: where its inode lies in the image, or its attributes in the spool; 0 is nothing. Not stored. */
  handle: Float64Array

  constructor(capacity = 1024) {
    this.capacity = capacity
    this.columns = {
      ino: new Float64Array(capacity),
      seconds: new Uint32Array(capacity),
      nanoseconds: new Uint32Array(capacity),
      end: new Uint32Array(capacity),
      nameStart: new Uint32Array(capacity + 1),
      kind: new Uint8Array(capacity),
    }
    this.handle = new Float64Array(capacity)
    this.names = Buffer.alloc(capacity * 16)
  }

  /** Appends an entry without children; `close` tells where its subtree ends. `name` is a latin1 view of the bytes. */
  add(name: string, kind: number, ino: number, seconds: number, nanoseconds: number): number {
    if (this.count === this.capacity) this.grow()
    const index = this.count
    const { columns } = this
    const start = columns.nameStart[index] as number
    if (start + name.length > this.names.length)
      this.names = Buffer.concat([this.names, Buffer.alloc(this.names.length)])
    this.names.write(name, start, 'latin1')
    columns.nameStart[index + 1] = start + name.length
    columns.kind[index] = kind
    columns.ino[index] = ino
    columns.seconds[index] = seconds
    columns.nanoseconds[index] = nanoseconds
    columns.end[index] = index + 1
    this.count += 1
    return index
  }

  /**
   * Appends entries of another tree that follow each other and have no children, without their stamps: those are set one by one.
   * Returns the first one's place.
   */
  addLeaves(other: Tree, from: number, to: number): number {
    const first = this.count
    const count = to - from
    while (first + count > this.capacity) this.grow()
    const { columns } = this
    const names = other.columns.nameStart[from] as number
    const bytes = (other.columns.nameStart[to] as number) - names
    const start = columns.nameStart[first] as number
    while (start + bytes > this.names.length) this.names = Buffer.concat([this.names, Buffer.alloc(this.names.length)])
    other.names.copy(this.names, start, names, names + bytes)
    columns.ino.set(other.columns.ino.subarray(from, to), first)
    columns.kind.set(other.columns.kind.subarray(from, to), first)
    for (let index = 0; index < count; index++) {
      columns.nameStart[first + index + 1] = start + (other.columns.nameStart[from + index + 1] as number) - names
      columns.end[first + index] = first + index + 1
    }
    this.count += count
    return first
  }

  close(index: number): void {
    this.columns.end[index] = this.count
  }

  kind(index: number): number {
    return (this.columns.kind[index] as number) & ~opaqueBit
  }
  isDirectory(index: number): boolean {
    return this.kind(index) === kinds.directory
  }
  isOpaque(index: number): boolean {
    return ((this.columns.kind[index] as number) & opaqueBit) !== 0
  }
  ino(index: number): number {
    return this.columns.ino[index] as number
  }
  /** The entry after the subtree. Children of a directory are `index + 1`, then each one's end, up to the directory's. */
  end(index: number): number {
    return this.columns.end[index] as number
  }
  seconds(index: number): number {
    return this.columns.seconds[index] as number
  }
  nanoseconds(index: number): number {
    return this.columns.nanoseconds[index] as number
  }
  isKnown(index: number): boolean {
    return this.columns.seconds[index] !== 0 || this.columns.nanoseconds[index] !== 0
  }
  setStamp(index: number, seconds: number, nanoseconds: number): void {
    this.columns.seconds[index] = seconds
    this.columns.nanoseconds[index] = nanoseconds
  }
  setOpaque(index: number, opaque: boolean): void {
    this.columns.kind[index] = this.kind(index) | (opaque ? opaqueBit : 0)
  }
  name(index: number): string {
    const { nameStart } = this.columns
    return this.names.toString('latin1', nameStart[index], nameStart[index + 1])
  }

  sameStamp(index: number, other: Tree, otherIndex: number): boolean {
    return (
      this.columns.seconds[index] === other.columns.seconds[otherIndex] &&
      this.columns.nanoseconds[index] === other.columns.nanoseconds[otherIndex]
    )
  }

  /** Negative, 0 or positive, as the bytes of the names are ordered. */
  compareNames(index: number, other: Tree, otherIndex: number): number {
    const start = this.columns.nameStart[index] as number
    const otherStart = other.columns.nameStart[otherIndex] as number
    const length = (this.columns.nameStart[index + 1] as number) - start
    const otherLength = (other.columns.nameStart[otherIndex + 1] as number) - otherStart
    const common = Math.min(length, otherLength)
    for (let at = 0; at < common; at++) {
      const difference = (this.names[start + at] as number) - (other.names[otherStart + at] as number)
      if (difference !== 0) return difference
    }
    return length - otherLength
  }

  /** The tree as the parts of a file, to be read by `Tree.decode` on the same kind of machine. */
  encode(): Uint8Array[] {
    const { ino, seconds, nanoseconds, end, nameStart, kind } = this.columns
    const { count } = this
    const header = new Uint32Array([magic, count, nameStart[count] as number, 0])
    const columns = [
      ino.subarray(0, count),
      seconds.subarray(0, count),
      nanoseconds.subarray(0, count),
      end.subarray(0, count),
      nameStart.subarray(0, count + 1),
      kind.subarray(0, count),
    ]
    return [header, ...columns, this.names.subarray(0, nameStart[count])].map(
      ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
    )
  }

  static decode(file: Uint8Array): Tree {
    const [found, count, namesLength] = new Uint32Array(file.buffer, file.byteOffset, 4) as unknown as number[]
    if (found !== magic || count === undefined || namesLength === undefined)
      throw new Error('the index of the last checkpoint is not one')
    let at = file.byteOffset + 16
    const take = (bytes: number): number => {
      at += bytes
      return at - bytes
    }
    const tree = new Tree(0)
    tree.columns = {
      ino: new Float64Array(file.buffer, take(count * 8), count),
      seconds: new Uint32Array(file.buffer, take(count * 4), count),
      nanoseconds: new Uint32Array(file.buffer, take(count * 4), count),
      end: new Uint32Array(file.buffer, take(count * 4), count),
      nameStart: new Uint32Array(file.buffer, take(count * 4 + 4), count + 1),
      kind: new Uint8Array(file.buffer, take(count), count),
    }
    tree.names = Buffer.from(file.buffer, take(namesLength), namesLength)
    tree.handle = new Float64Array(count)
    tree.count = tree.capacity = count
    return tree
  }

  private grow(): void {
    const capacity = Math.max(1024, this.capacity * 2)
    const larger = <T extends Float64Array | Uint32Array | Uint8Array>(column: T, made: T): T => {
      made.set(column)
      return made
    }
    const { columns } = this
    this.columns = {
      ino: larger(columns.ino, new Float64Array(capacity)),
      seconds: larger(columns.seconds, new Uint32Array(capacity)),
      nanoseconds: larger(columns.nanoseconds, new Uint32Array(capacity)),
      end: larger(columns.end, new Uint32Array(capacity)),
      nameStart: larger(columns.nameStart, new Uint32Array(capacity + 1)),
      kind: larger(columns.kind, new Uint8Array(capacity)),
    }
    this.handle = larger(this.handle, new Float64Array(capacity))
    this.capacity = capacity
  }
}
