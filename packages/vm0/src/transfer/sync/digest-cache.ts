import { createHash, randomBytes } from 'node:crypto'
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Buckets } from '@vm0/contract/client'
import { decodeRows, encodeRows, noRows, type DigestRows } from './digest-rows.js'
import type { Listing } from './listing.js'
import { rowsOf } from './next-rows.js'

/**
 * Digests of what is in one local folder, with what the system said of each entry when it was read: nothing unchanged is read
 * again.
 */
export class DigestCache {
  private constructor(
    private readonly file: string,
    readonly rows: DigestRows,
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

  /**
   * Keeps what is in the folder now, and the buckets that it made. Without the cache everything works, slower: a failure is
   * none.
   */
  async save(listing: Listing, buckets: Buckets | undefined): Promise<void> {
    const isLearned = listing.fresh.some(({ isSettled }) => isSettled)
    if (!isLearned && listing.length === this.rows.hashes.length) return
    const rows = rowsOf(listing, buckets)
    if (!rows) return
    const temporary = `${this.file}.${randomBytes(4).toString('hex')}`
    try {
      await mkdir(join(this.file, '..'), { recursive: true, mode: 0o700 })
      const file = await open(temporary, 'wx', 0o600)
      try {
        const columns = encodeRows(rows)
        const { bytesWritten } = await file.writev(columns)
        if (bytesWritten !== columns.reduce((sum, { length }) => sum + length, 0)) throw new Error('the disk is full')
      } finally {
        await file.close()
      }
      await rename(temporary, this.file)
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined)
    }
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
