import { createHash, randomBytes } from 'node:crypto'
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { decodeRows, encodeRows, noRows, type DigestRow, type DigestRows } from './digest-rows.js'

/**
 * What was changed as lately as this before it was read may change once more without its time telling so: it is read again
 * the next time.
 */
const settleMs = 1_000

export interface Known {
  /** The sha256 of a file's content, in hex. */
  content: string
  /** Of all that makes the entry another one. */
  digest: string
}

/** What the system says of a file. */
interface Told {
  size: number
  mtimeMs: number
  ctimeMs: number
  ino: number
}

/** Digests of the files of one local folder, with what the system said of each when it was read: nothing unchanged is read again. */
export class DigestCache {
  /** What was seen: rows that are known by their place, and new ones. */
  private readonly fresh: (number | DigestRow)[] = []
  private learned = 0
  /** Files come in the same order each time: where the next one is, if nothing was added or removed. */
  private next = 0
  private byPath: Map<string, number> | undefined

  private constructor(
    private readonly file: string,
    private readonly known: DigestRows,
  ) {}

  static async open(root: string): Promise<DigestCache> {
    const file = fileOf(root)
    return new DigestCache(file, await readRows(file))
  }

  /** Whether anything is known of the folder. */
  static async has(root: string): Promise<boolean> {
    return access(fileOf(root)).then(
      () => true,
      () => false,
    )
  }

  /** What is known of the file, as far as that is known to hold still. */
  get(path: string, info: Told): Known | undefined {
    const at = this.find(path)
    if (at === undefined) return undefined
    if (!this.known.isSame(at, [info.mtimeMs, info.ctimeMs, info.size, info.ino])) return undefined
    this.fresh.push(at)
    return this.known.digests(at)
  }

  /** `info` is from before the file was read, at `readMs` by the clock. */
  learn(path: string, info: Told, { content, digest }: Known, readMs: number): void {
    const { mtimeMs, ctimeMs, size, ino } = info
    if (Math.max(mtimeMs, ctimeMs) > readMs - settleMs) return
    this.learned += 1
    this.fresh.push({ path, numbers: [mtimeMs, ctimeMs, size, ino], content, digest })
  }

  /** Keeps what was seen since it was opened. Without the cache everything works, slower: a failure is none. */
  async save(): Promise<void> {
    if (this.learned === 0 && this.fresh.length === this.known.length) return
    const temporary = `${this.file}.${randomBytes(4).toString('hex')}`
    try {
      await mkdir(join(this.file, '..'), { recursive: true, mode: 0o700 })
      const rows = this.fresh.map((each) => (typeof each === 'number' ? this.known.row(each) : each))
      await writeFile(temporary, encodeRows(rows), { mode: 0o600 })
      await rename(temporary, this.file)
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined)
    }
  }

  private find(path: string): number | undefined {
    const { paths } = this.known
    let at: number | undefined = this.next
    if (paths[at] !== path) {
      this.byPath ??= new Map(paths.map((each, index) => [each, index]))
      at = this.byPath.get(path)
    }
    if (at !== undefined) this.next = at + 1
    return at
  }
}

function fileOf(root: string): string {
  const name = createHash('sha256').update(root).digest('hex').slice(0, 32)
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0/digests', name)
}

async function readRows(file: string): Promise<DigestRows> {
  try {
    return decodeRows(await readFile(file))
  } catch {
    return noRows
  }
}
