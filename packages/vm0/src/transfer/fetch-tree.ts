import { lstat, readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { cutFromBytes, type FileEntry } from '@vm0/contract/client'
import type { Http } from '../http.js'
import { receiveTree, type DownloadOptions, type DownloadResult } from './receive-tree.js'
import type { FolderCall } from './sync/calls.js'

/** Fetches a file, or what of a folder is not here in the same form. */
export async function fetchTree(
  http: Http,
  remotePath: string,
  localPath: string,
  call: FolderCall,
  options: DownloadOptions,
): Promise<DownloadResult> {
  const { signal, ignore } = options
  const target = resolve(localPath)
  if ((ignore || (await hasEntries(target))) && (await isFolder(http, await call('stat', remotePath)))) {
    const { fetchFolder } = await import('./sync/fetch-folder.js')
    return fetchFolder(http, target, (kind) => call(kind, remotePath), options)
  }
  const fetched = await fetchOverLarge(http, remotePath, target, call, options)
  if (fetched) return fetched
  const response = await http.request(await call('tree', remotePath), { signal, patient: true })
  return receiveTree(response, localPath, options)
}

/** In pieces, where both sides have a big file there. */
async function fetchOverLarge(
  http: Http,
  remotePath: string,
  target: string,
  call: FolderCall,
  options: DownloadOptions,
): Promise<DownloadResult | undefined> {
  const here = await lstat(target).catch(() => undefined)
  if (!here?.isFile() || here.size < cutFromBytes) return undefined
  const { sizeBytes, type } = await http.json<FileEntry>(await call('stat', remotePath), { patient: true })
  if (type !== 'file' || sizeBytes < cutFromBytes) return undefined
  const { fetchLargeFile } = await import('./large/one-file.js')
  return fetchLargeFile(http, (kind) => call(kind, remotePath), target, sizeBytes, options)
}

const hasEntries = async (folder: string): Promise<boolean> =>
  (await readdir(folder).catch(() => [] as string[])).length > 0

/** What is behind a link counts as the whole-tree call has it: it is fetched as that. */
const isFolder = async (http: Http, address: string): Promise<boolean> =>
  (await http.json<FileEntry>(address, { patient: true })).type === 'directory'
