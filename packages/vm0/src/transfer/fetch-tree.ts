import { readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { FileEntry } from '@vm0/contract/client'
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
  const response = await http.request(await call('tree', remotePath), { signal, patient: true })
  return receiveTree(response, localPath, options)
}

const hasEntries = async (folder: string): Promise<boolean> =>
  (await readdir(folder).catch(() => [] as string[])).length > 0

/** What is behind a link counts as the whole-tree call has it: it is fetched as that. */
const isFolder = async (http: Http, address: string): Promise<boolean> =>
  (await http.json<FileEntry>(address, { patient: true })).type === 'directory'
