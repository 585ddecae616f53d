import { createHash, randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

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

type Row = [
  path: string,
  mtimeMs: number,
  ctimeMs: number,
  size: number,
  inode: number,
  content: string,
  digest: string,
]

/** Digests of the files of one local folder, with what the system said of each when it was read: nothing unchanged is read again. */
export class DigestCache {
  private readonly fresh: Row[] = []
  private learned = 0

  private constructor(
    private readonly file: string,
    private readonly known: Map<string, Row>,
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
  get(path: string, info: Stats): Known | undefined {
    const row = this.known.get(path)
    if (!row || row[3] !== info.size || row[1] !== info.mtimeMs || row[2] !== info.ctimeMs || row[4] !== info.ino)
      return undefined
    this.fresh.push(row)
    return { content: row[5], digest: row[6] }
  }

  /** `info` is from before the file was read, at `readMs` by the clock. */
  learn(path: string, info: Stats, { content, digest }: Known, readMs: number): void {
    if (Math.max(info.mtimeMs, info.ctimeMs) > readMs - settleMs) return
    this.learned += 1
    this.fresh.push([path, info.mtimeMs, info.ctimeMs, info.size, info.ino, content, digest])
  }

  /** Keeps what was seen since it was opened. Without the cache everything works, slower: a failure is none. */
  async save(): Promise<void> {
    if (this.learned === 0 && this.fresh.length === this.known.size) return
    const temporary = `${this.file}.${randomBytes(4).toString('hex')}`
    try {
      await mkdir(join(this.file, '..'), { recursive: true, mode: 0o700 })
      await writeFile(temporary, JSON.stringify(this.fresh), { mode: 0o600 })
      await rename(temporary, this.file)
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined)
    }
  }
}

function fileOf(root: string): string {
  const name = `${createHash('sha256').update(root).digest('hex').slice(0, 32)}.json`
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0/digests', name)
}

async function readRows(file: string): Promise<Map<string, Row>> {
  try {
    const rows = JSON.parse(await readFile(file, 'utf8')) as Row[]
    return new Map(rows.map((row) => [row[0], row]))
  } catch {
    return new Map()
  }
}
