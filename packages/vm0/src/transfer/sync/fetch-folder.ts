import { mkdir, type FileHandle } from 'node:fs/promises'
import type { FolderEntry } from '@vm0/contract/client'
import { bytesOf as bytesOfAnswer, type Http, type RequestBody } from '../../http.js'
import { counted } from '../counted.js'
import { FolderWriter } from '../folder-writer.js'
import { fileIn } from '../large/calls.js'
import { fetchLarge } from '../large/fetch-large.js'
import { isLarge, largeAtOnce } from '../large/is-large.js'
import type { DownloadOptions, DownloadResult } from '../receive-tree.js'
import { readTarEntries } from '../tar-entries.js'
import { namesOf, type CallOfFolder } from './calls.js'
import { compareFolders } from './compare.js'
import { overBreaks } from './over-breaks.js'
import { packsAtOnce, packsOf } from './packs.js'
import { planTransfer } from './plan.js'
import { bytesOf, Progress } from './progress.js'
import type { ScannedEntry } from './listing.js'
import { inParallel, scanFolder } from './scan-folder.js'

/** Fetches what a local folder lacks, or has otherwise, of the session's folder. */
export async function fetchFolder(
  http: Http,
  root: string,
  call: CallOfFolder,
  options: DownloadOptions,
): Promise<DownloadResult> {
  const { signal, ignore = false } = options
  await mkdir(root, { recursive: true })
  const compared = await overBreaks(signal, async () => {
    const scan = scanFolder(root, { gitignore: ignore, specials: 'skip' }, signal).then(({ listing, keep }) => ({
      listing,
      keep,
      rules: [],
      ownRules: ignore,
    }))
    return compareFolders(http, await call('comparisons'), scan, signal)
  })
  const here = new Map(compared.local.map((entry) => [entry.path, entry]))
  const { send: wanted } = planTransfer([...compared.remote.values()], here)
  const savedBytes = compared.alike.bytes + bytesOf([...compared.remote.values()]) - bytesOf(wanted)
  const result: DownloadResult = { files: 0, bytes: 0, savedBytes, skipped: [] }
  const progress = new Progress(wanted, savedBytes, options.onProgress)
  await fetchEntries(http, call, { root, entries: wanted, here, progress, result }, options)
  return result
}

export interface Fetch {
  root: string
  entries: readonly FolderEntry[]
  /** What is in their places here, by path. */
  here: ReadonlyMap<string, ScannedEntry>
  progress: Progress
  /** Is added to. */
  result: DownloadResult
}

/** Files first, in archives of a bounded size, several at a time; then the folders' own modes and times, which may forbid writing. */
export async function fetchEntries(
  http: Http,
  call: CallOfFolder,
  { root, entries, here, progress, result }: Fetch,
  { outsideLinks = 'fail', signal }: DownloadOptions,
): Promise<void> {
  const address = await call('entries')
  const fetchPack = async (pack: readonly FolderEntry[]): Promise<void> => {
    const moving = progress.pack(pack)
    const own = await overBreaks(signal, async () => {
      moving.restart()
      // Of a pack that breaks off nothing is counted.
      const part: DownloadResult = { files: 0, bytes: 0, savedBytes: 0, skipped: [] }
      const response = await http.request(address, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: () => namesOf(pack) as RequestBody,
        signal,
        patient: true,
      })
      const folder = new FolderWriter(root, outsideLinks, part)
      const chunks = counted(bytesOfAnswer(response, signal), moving.moved)
      await readTarEntries(
        chunks,
        root,
        (header, body) => folder.write(header, body),
        () => folder.finish(),
      )
      return part
    })
    moving.done()
    result.files += own.files
    result.bytes += own.bytes
    result.skipped.push(...own.skipped)
  }
  const fetchOne = async (entry: FolderEntry): Promise<void> => {
    const { moved, spared, done } = progress.pack([entry])
    let sparedBytes = 0
    const onSpared = (bytes: number): void => {
      sparedBytes += bytes
      spared(bytes)
    }
    const folder = new FolderWriter(root, outsideLinks, result)
    const place = (write: (file: FileHandle) => Promise<void>) => folder.place(entry.path, write)
    const basis = here.get(entry.path)?.local.path
    const file = { sizeBytes: entry.sizeBytes, content: entry.content, basis }
    if (!(await fetchLarge(http, fileIn(call, entry.path), file, { signal, place, onBytes: moved, onSpared })))
      return fetchPack([entry])
    done()
    result.files += 1
    result.bytes += entry.sizeBytes - sparedBytes
    result.savedBytes += sparedBytes
  }
  const folders = entries.filter(({ kind }) => kind === 'folder')
  const others = entries.filter(({ kind }) => kind !== 'folder')
  const large = others.filter((entry) => isLarge(entry, here.get(entry.path)))
  const packs = packsOf(large.length > 0 ? others.filter((entry) => !large.includes(entry)) : others)
  await inParallel(packs, packsAtOnce, fetchPack)
  await inParallel(large, largeAtOnce, fetchOne)
  if (folders.length > 0) await fetchPack(folders)
}
