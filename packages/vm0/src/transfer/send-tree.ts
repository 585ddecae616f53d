import { realpath, stat } from 'node:fs/promises'
import { posix, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { Vm0Error } from '@vm0/contract/client'
import { packTar, type TarSource } from 'modern-tar/fs'
import type { Http, RequestBody } from '../http.js'
import { tarSource, walkFolder } from './local-tree.js'

/**
 * How to send files.
 *
 * @example
 * await session.files.upload('./fixtures', '/workspace/fixtures', { signal: AbortSignal.timeout(60_000) })
 */
export interface UploadOptions {
  /** Aborting ends the upload with CANCELLED; what has arrived stays. */
  signal?: AbortSignal
}

/** Sends a local file, or a folder's content, as one tar; `address` gives the call that unpacks into a remote folder. */
export async function sendTree(
  http: Http,
  localPath: string,
  remotePath: string,
  address: (folder: string) => Promise<string>,
  { signal }: UploadOptions,
): Promise<void> {
  const source = await realpath(resolve(localPath)).catch((cause: NodeJS.ErrnoException) => {
    throw new Vm0Error('FILE_NOT_FOUND', `${localPath} can't be read: ${cause.message}`, {
      cause,
      hint: 'Give a local file or folder that exists.',
    })
  })
  const info = await stat(source)
  const sources: TarSource[] = []
  if (info.isDirectory())
    for await (const entry of walkFolder(source, { gitignore: false })) sources.push(tarSource(entry, 'FILE_INVALID'))
  else sources.push(tarSource({ path: source, name: posix.basename(remotePath), info }, 'FILE_INVALID'))
  const folder = info.isDirectory() ? remotePath : posix.dirname(remotePath)

  let unreadable: Error | undefined
  try {
    await http.json(await address(folder), {
      method: 'PUT',
      headers: { 'content-type': 'application/x-tar' },
      body: () => {
        const tar = packTar(sources)
        tar.once('error', (error) => {
          unreadable = error
        })
        return Readable.toWeb(tar) as unknown as RequestBody
      },
      signal,
      patient: true,
    })
  } catch (thrown) {
    if (!unreadable || (thrown as Vm0Error).code !== 'SERVER_UNREACHABLE') throw thrown
    throw new Vm0Error('FILE_INVALID', `${localPath} could not be packed: ${unreadable.message}`, {
      cause: unreadable,
      hint: 'Something changed while it was read, or may not be read: try again.',
    })
  }
}
