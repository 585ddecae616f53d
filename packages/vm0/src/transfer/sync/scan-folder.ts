import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, readlinkSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { entryDigest, Vm0Error, type FolderEntry, type FolderRules } from '@vm0/contract/client'
import { sliceMs, walkFolder, type LocalEntry, type WalkOptions } from '../local-tree.js'
import { DigestCache } from './digest-cache.js'

export interface ScannedEntry extends FolderEntry {
  /** Of all that makes it another one. */
  digest: string
  local: LocalEntry
}

export interface ScannedFolder {
  entries: ScannedEntry[]
  /** What the folder's own ignore files say. */
  rules: FolderRules[]
  /** Keeps what was learned of the files for the next time: to be done while something else is waited for. */
  keep(): Promise<void>
}

/** Files up to this size are read at once: the promises of a system call cost several times the call. */
const smallBytes = 128 * 1024
const pieceBytes = 1024 ** 2
const readersAtOnce = 8

export interface ScanOptions extends WalkOptions {
  /** What to do about sockets, pipes and devices. Default `fail`. */
  specials?: 'fail' | 'skip'
}

/** A local folder with the digests of what is in it. */
export async function scanFolder(root: string, options: ScanOptions, signal?: AbortSignal): Promise<ScannedFolder> {
  const cache = await DigestCache.open(root)
  const rules: FolderRules[] = []
  const entries: ScannedEntry[] = []
  const unread: ScannedEntry[] = []
  const take = (local: LocalEntry): void => {
    if (options.specials === 'skip' && local.info.kind === 'other') return
    const entry = describe(local)
    entries.push(entry)
    const known = entry.kind === 'file' ? cache.get(local.name, local.info) : undefined
    if (known) {
      entry.content = known.content
      entry.digest = known.digest
    } else if (entry.kind === 'folder') entry.digest = entryDigest(entry)
    else unread.push(entry)
  }
  await walkFolder(root, { ...options, onRules: (each) => rules.push(each) }, take, signal)
  const gone = new Set<ScannedEntry>()
  let sliceEndsMs = performance.now() + sliceMs
  await inParallel(unread, readersAtOnce, async (entry) => {
    if (performance.now() >= sliceEndsMs) {
      await setImmediate()
      sliceEndsMs = performance.now() + sliceMs
    }
    signal?.throwIfAborted()
    try {
      await read(entry, cache)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unreadable(entry.path, error)
      gone.add(entry)
    }
  })
  const keep = (): Promise<void> => cache.save()
  return { entries: gone.size > 0 ? entries.filter((entry) => !gone.has(entry)) : entries, rules, keep }
}

/** Throws for what is no file, folder or link. */
export function kindOf({ name, info: { kind } }: LocalEntry): FolderEntry['kind'] {
  if (kind !== 'other') return kind
  throw new Vm0Error('FILE_INVALID', `${name} is a socket, pipe or device; expected files, folders and links`, {
    hint: 'Remove it, or choose another folder.',
  })
}

function describe(local: LocalEntry): ScannedEntry {
  const { name: path, info } = local
  const kind = kindOf(local)
  const mode = kind === 'link' ? 0 : info.mode & 0o777
  return { path, kind, mode, sizeBytes: kind === 'file' ? info.size : 0, content: '', digest: '', local }
}

async function read(entry: ScannedEntry, cache: DigestCache): Promise<void> {
  const { kind, local } = entry
  const readMs = Date.now()
  entry.content = kind === 'link' ? readlinkSync(local.path) : await digestOfFile(local)
  entry.digest = entryDigest(entry)
  if (kind === 'file') cache.learn(local.name, local.info, entry, readMs)
}

export async function digestOfFile({ path, info }: { path: string; info: { size: number } }): Promise<string> {
  const hash = createHash('sha256')
  if (info.size <= smallBytes) hash.update(readFileSync(path))
  else for await (const chunk of createReadStream(path, { highWaterMark: pieceBytes })) hash.update(chunk as Buffer)
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
