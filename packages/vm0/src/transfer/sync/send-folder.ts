import { Vm0Error, type FileEntry, type FolderEntry } from '@vm0/contract/client'
import type { Http, RequestBody } from '../../http.js'
import { fileIn } from '../large/calls.js'
import { isLarge, largeAtOnce } from '../large/is-large.js'
import { sendLarge } from '../large/send-large.js'
import { kindOf, walkFolder, type LocalEntry } from '../local-tree.js'
import { putTar } from '../put-tar.js'
import type { UploadOptions, UploadResult } from '../send-tree.js'
import { namesOf, type CallOfFolder } from './calls.js'
import { compareFolders } from './compare.js'
import { DigestCache } from './digest-cache.js'
import { overBreaks } from './over-breaks.js'
import { packsAtOnce, packsOf } from './packs.js'
import { mayGoMeanwhile, planTransfer, refuseLostFolders } from './plan.js'
import { bytesOf, Progress } from './progress.js'
import type { ScannedEntry } from './listing.js'
import { inParallel, scanFolder } from './scan-folder.js'

/** Of files that had to be read to compare them: they need not be read again to be sent. */
export const maxKeptBytes = 32 * 1024 ** 2

/** Sends what of a local folder the session's folder lacks or has otherwise. */
export async function sendFolder(
  http: Http,
  root: string,
  call: CallOfFolder,
  options: UploadOptions,
): Promise<UploadResult> {
  const { ignore = false, signal } = options
  if (!(await DigestCache.has(root)) && (await isEmpty(http, call))) return sendWhole(http, root, call, options)
  const compare = async () => {
    const scan = scanFolder(root, { gitignore: ignore, maxKeptBytes }, signal).then((scanned) => ({
      ...scanned,
      ownRules: false,
    }))
    return compareFolders(http, await call('comparisons'), scan, signal)
  }
  const compared = await overBreaks(signal, compare)
  const plan = planTransfer(compared.local, compared.remote)
  const removed = options.delete ? plan.extra : []
  if (!options.delete) refuseLostFolders(plan.send, compared.remote, 'Remove the folder there, or pass delete: true.')
  const savedBytes = compared.alike.bytes + bytesOf(compared.local) - bytesOf(plan.send)
  const progress = new Progress(plan.send, savedBytes, options.onProgress)
  // An empty folder is made, too.
  const send = async (): Promise<number> =>
    plan.send.length > 0 || !compared.summary.exists
      ? sendEntries(http, call, { entries: plan.send, there: compared.remote, progress }, signal)
      : 0
  const remove = (): Promise<void> => removeEntries(http, call, removed, signal)
  let sparedBytes: number
  if (mayGoMeanwhile(removed, plan.send)) {
    const [sent, gone] = await Promise.allSettled([send(), remove()])
    for (const each of [gone, sent]) if (each.status === 'rejected') throw each.reason
    sparedBytes = (sent as PromiseFulfilledResult<number>).value
  } else {
    await remove()
    sparedBytes = await send()
  }
  return resultOf(plan.send, { savedBytes, sparedBytes }, removed)
}

type Sendable = Pick<ScannedEntry, 'path' | 'kind' | 'sizeBytes' | 'local'> & { content?: string }

interface Sending {
  entries: readonly Sendable[]
  /** What the session has, by path. */
  there: ReadonlyMap<string, FolderEntry>
  progress: Progress
}

const resultOf = (
  sent: readonly Sendable[],
  { savedBytes, sparedBytes }: { savedBytes: number; sparedBytes: number },
  removed: readonly FolderEntry[],
): UploadResult => ({
  files: sent.filter(({ kind }) => kind !== 'folder').length,
  bytes: bytesOf(sent) - sparedBytes,
  savedBytes: savedBytes + sparedBytes,
  removed: removed.map(({ path }) => path),
})

async function isEmpty(http: Http, call: CallOfFolder): Promise<boolean> {
  try {
    return (await http.json<{ items: FileEntry[] }>(await call('entries'), { patient: true })).items.length === 0
  } catch (thrown) {
    if ((thrown as Vm0Error).code === 'FILE_NOT_FOUND') return true
    throw thrown
  }
}

/** Where nothing is there yet, nothing has to be compared: files are read once. */
async function sendWhole(http: Http, root: string, call: CallOfFolder, options: UploadOptions): Promise<UploadResult> {
  const { ignore = false, signal, onProgress } = options
  const entries: Sendable[] = []
  const take = (local: LocalEntry): void => {
    const kind = kindOf(local)
    entries.push({ path: local.name, kind, sizeBytes: kind === 'file' ? local.info.size : 0, local })
  }
  await walkFolder(root, { gitignore: ignore }, take, signal)
  const progress = new Progress(entries, 0, onProgress)
  const sparedBytes = await sendEntries(http, call, { entries, there: new Map(), progress }, signal)
  return resultOf(entries, { savedBytes: 0, sparedBytes }, [])
}

/**
 * In archives of a bounded size: folders first, then what is in them, several at a time; big files each by itself. Gives how
 * many bytes of those the session had.
 */
export async function sendEntries(
  http: Http,
  call: CallOfFolder,
  { entries, there, progress }: Sending,
  signal: AbortSignal | undefined,
): Promise<number> {
  const address = await call('tree')
  const send = async (pack: readonly Sendable[]): Promise<void> => {
    const counted = progress.pack(pack)
    const sources = pack.map(({ local }) => local)
    const label = pack.length === 1 ? (pack[0]?.path ?? '') : `${pack[0]?.path} and ${pack.length - 1} more`
    const steps = { onStart: counted.restart, onBytes: counted.moved }
    await putTar(http, address, sources, { label, signal, ...steps })
    counted.done()
  }
  const folders = entries.filter(({ kind }) => kind === 'folder')
  const others = entries.filter(({ kind }) => kind !== 'folder')
  const large = others.filter((entry) => isLarge(entry, there.get(entry.path)))
  const packs = packsOf(large.length > 0 ? others.filter((entry) => !large.includes(entry)) : others)
  const [only] = packs
  // What fits into one archive goes as one: a call less.
  if (packs.length <= 1) {
    // The folder itself is made by it, also where only big files follow.
    if (folders.length > 0 || only || there.size === 0) await send([...folders, ...(only ?? [])])
  } else {
    if (folders.length > 0) await send(folders)
    await inParallel(packs, packsAtOnce, send)
  }
  let sparedBytes = 0
  await inParallel(large, largeAtOnce, async (entry) => {
    const { moved, spared, done } = progress.pack([entry])
    const onSpared = (bytes: number): void => {
      sparedBytes += bytes
      spared(bytes)
    }
    const file = { path: entry.local.path, content: entry.content }
    if (await sendLarge(http, fileIn(call, entry.path), file, { signal, onBytes: moved, onSpared })) done()
    else await send([entry])
  })
  return sparedBytes
}

export async function removeEntries(
  http: Http,
  call: CallOfFolder,
  entries: readonly FolderEntry[],
  signal: AbortSignal | undefined,
): Promise<void> {
  if (entries.length === 0) return
  await http.json(await call('removals'), {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: () => namesOf(entries) as RequestBody,
    signal,
    patient: true,
  })
}
