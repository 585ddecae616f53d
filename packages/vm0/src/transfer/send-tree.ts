import { realpath, stat } from 'node:fs/promises'
import { posix, resolve } from 'node:path'
import { Vm0Error } from '@vm0/contract/client'
import type { Http } from '../http.js'
import { isLarge } from './large/is-large.js'
import { infoOf } from './local-tree.js'
import { putTar } from './put-tar.js'
import type { FolderCall } from './sync/calls.js'
import type { TransferProgress } from './sync/progress.js'

/**
 * How to send files.
 *
 * @example
 * await session.files.upload('./fixtures', '/workspace/fixtures', { signal: AbortSignal.timeout(60_000) })
 */
export interface UploadOptions {
  /** Leave out what .gitignore and .vm0ignore files exclude. Default: everything goes. */
  ignore?: boolean
  /** Remove from the remote folder what the local one has not; with `ignore`, excluded files stay. */
  delete?: boolean
  /** Is told how far it is. */
  onProgress?: (progress: TransferProgress) => void
  /** Aborting ends the upload with CANCELLED; what has arrived stays. */
  signal?: AbortSignal
}

/**
 * What an upload moved.
 *
 * @example
 * const { files, bytes, savedBytes } = await session.files.upload('./fixtures', '/workspace/fixtures')
 */
export interface UploadResult {
  /** Files and links that were sent, without folders. */
  files: number
  /** Of their contents, as far as the session didn't have them. */
  bytes: number
  /** Contents that the session had already. */
  savedBytes: number
  /** Paths below the remote folder that were removed, with `delete`. */
  removed: string[]
}

/** Sends a local file, or what of a folder's content the remote folder lacks; `call` gives the address of a call for a remote path. */
export async function sendTree(
  http: Http,
  localPath: string,
  remotePath: string,
  call: FolderCall,
  options: UploadOptions,
): Promise<UploadResult> {
  const source = await realpath(resolve(localPath)).catch((cause: NodeJS.ErrnoException) => {
    throw new Vm0Error('FILE_NOT_FOUND', `${localPath} can't be read: ${cause.message}`, {
      cause,
      hint: 'Give a local file or folder that exists.',
    })
  })
  const info = await stat(source)
  if (info.isDirectory()) {
    const { sendFolder } = await import('./sync/send-folder.js')
    return sendFolder(http, source, (kind) => call(kind, remotePath), options)
  }
  const entry = { path: source, name: posix.basename(remotePath), info: infoOf(info) }
  const { signal, onProgress } = options
  if (isLarge({ kind: 'file', sizeBytes: info.size }, { kind: 'file', sizeBytes: info.size })) {
    const { sendLargeFile } = await import('./large/one-file.js')
    const sent = await sendLargeFile(http, (kind) => call(kind, remotePath), source, info.size, { signal, onProgress })
    if (sent) return sent
  }
  await putTar(http, await call('tree', posix.dirname(remotePath)), [entry], { label: localPath, signal })
  return { files: 1, bytes: info.size, savedBytes: 0, removed: [] }
}
