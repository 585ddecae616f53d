import * as crypto from 'node:crypto'
import { createReadStream, readFileSync, readlinkSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { entryDigest, Vm0Error, type Buckets, type FolderRules } from '@vm0/contract/client'
import { kindOfMode, sliceMs, walkStats, type TakeStats, type WalkOptions } from '../local-tree.js'
import { DigestCache } from './digest-cache.js'
import { Listing, type FreshEntry } from './listing.js'

export interface ScannedFolder {
  listing: Listing
  /** What the folder's own ignore files say. */
  rules: FolderRules[]
  /** Keeps what was learned of the files for the next time: to be done while something else is waited for. */
  keep(buckets?: Buckets): Promise<void>
}

/** Files up to this size are read at once: the promises of a system call cost several times the call. */
const smallBytes = 128 * 1024
const pieceBytes = 1024 ** 2
const readersAtOnce = 8

export interface ScanOptions extends WalkOptions {
  /** What to do about sockets, pipes and devices. Default `fail`. */
  specials?: 'fail' | 'skip'
  /** So much of what is read is kept in memory, for those who send it. Default nothing. */
  maxKeptBytes?: number
}

/** A local folder with the digests of what is in it. */
export async function scanFolder(root: string, options: ScanOptions, signal?: AbortSignal): Promise<ScannedFolder> {
  const cache = await DigestCache.open(root)
  const listing = new Listing(root, cache.rows)
  const rules: FolderRules[] = []
  const unread: FreshEntry[] = []
  const take: TakeStats = (folder, child, stats) => {
    if (options.specials === 'skip' && kindOfMode(stats.mode) === 'other') return
    const entry = listing.take(folder, child, stats)
    if (entry?.kind === 'folder') Object.assign(entry, { digest: entryDigest(entry), isSettled: true })
    else if (entry) unread.push(entry)
  }
  await walkStats(root, { ...options, onRules: (each) => rules.push(each) }, take, signal)
  const gone = new Set<FreshEntry>()
  let leftBytes = options.maxKeptBytes ?? 0
  let sliceEndsMs = performance.now() + sliceMs
  await inParallel(unread, readersAtOnce, async (entry) => {
    if (performance.now() >= sliceEndsMs) {
      await setImmediate()
      sliceEndsMs = performance.now() + sliceMs
    }
    signal?.throwIfAborted()
    try {
      const content = await read(entry)
      leftBytes -= content?.length ?? 0
      if (content && leftBytes >= 0) entry.local.content = content
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unreadable(entry.path, error)
      gone.add(entry)
    }
  })
  listing.remove(gone)
  return { listing, rules, keep: (buckets) => cache.save(listing, buckets) }
}

/**
 * What was changed as lately as this before it was read may change once more without its time telling so: it is read again
 * the next time.
 */
const settleMs = 1_000

/** Gives the entry its digest; of a small file all that is in it. */
async function read(entry: FreshEntry): Promise<Buffer | undefined> {
  const { kind, local } = entry
  const { mtimeMs, ctimeMs, size } = local.info
  const readMs = Date.now()
  const small = kind === 'file' && size <= smallBytes ? readFileSync(local.path) : undefined
  if (small) entry.content = digestOf(small)
  else entry.content = kind === 'link' ? readlinkSync(local.path) : await digestOfLarge(local.path)
  entry.digest = entryDigest(entry)
  entry.isSettled = kind === 'file' && Math.max(mtimeMs, ctimeMs) <= readMs - settleMs
  return small
}

export async function digestOfFile({ path, info }: { path: string; info: { size: number } }): Promise<string> {
  return info.size <= smallBytes ? digestOf(readFileSync(path)) : digestOfLarge(path)
}

/** In one call where the runtime knows it, which is cheaper for small files. */
const digestOf = (bytes: Buffer): string =>
  typeof crypto.hash === 'function'
    ? crypto.hash('sha256', bytes, 'hex')
    : crypto.createHash('sha256').update(bytes).digest('hex')

async function digestOfLarge(path: string): Promise<string> {
  const hash = crypto.createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: pieceBytes })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

export async function inParallel<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>) {
  const iterator = items[Symbol.iterator]()
  const worker = async (): Promise<void> => {
    for (const item of iterator) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}

function unreadable(path: string, cause: unknown): Vm0Error {
  return new Vm0Error('FILE_INVALID', `${path} can't be read: ${(cause as Error).message}`, {
    cause,
    hint: 'Check the rights of the file, or list it in .vm0ignore.',
  })
}
