import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Readable } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'
import { Vm0Error } from '@vm0/contract/client'
import { createTarDecoder } from 'modern-tar'
import { bytesOf } from '../http.js'
import { FolderWriter, writeFile } from './folder-writer.js'
import type { TransferProgress } from './sync/progress.js'

/**
 * How to fetch files.
 *
 * @example
 * await session.files.download('/workspace', './copy', { outsideLinks: 'skip' })
 */
export interface DownloadOptions {
  /** What to do with a symbolic link that leads, or could lead, out of the folder. Default `fail`. */
  outsideLinks?: 'fail' | 'skip'
  /** Leave out what .gitignore and .vm0ignore files in the session exclude. Default: everything comes. */
  ignore?: boolean
  /** Is told how far it is, where a folder is there already. */
  onProgress?: (progress: TransferProgress) => void
  /** Aborting ends the download with CANCELLED; what was written stays. */
  signal?: AbortSignal
}

/**
 * What a download wrote.
 *
 * @example
 * const { files, bytes, skipped } = await session.files.download('/workspace', './copy', { outsideLinks: 'skip' })
 */
export interface DownloadResult {
  /** Files and links, without folders. */
  files: number
  /** Of the files' contents. */
  bytes: number
  /** Contents that were here already. */
  savedBytes: number
  /** Entries that were left out: links that lead out (when asked to), pipes and devices. */
  skipped: { path: string; reason: string }[]
}

/** Unpacks the answer to GET …/tree: a folder's content (its first entry is `./`) into `localPath`, a file as `localPath`. */
export async function receiveTree(
  response: Response,
  localPath: string,
  { outsideLinks = 'fail', signal }: DownloadOptions,
): Promise<DownloadResult> {
  const target = resolve(localPath)
  const result: DownloadResult = { files: 0, bytes: 0, savedBytes: 0, skipped: [] }
  const bytes = Readable.toWeb(Readable.from(bytesOf(response, signal), { objectMode: false })) as WebStream<Uint8Array>
  const entries = bytes.pipeThrough(createTarDecoder({ strict: true })).getReader()
  let folder: FolderWriter | undefined
  try {
    for (let next = await entries.read(); !next.done; next = await entries.read()) {
      const { header, body } = next.value
      if (header.type === 'directory') folder ??= new FolderWriter(target, outsideLinks, result)
      if (folder) await folder.write(header, body)
      else {
        await mkdir(dirname(target), { recursive: true })
        await writeFile(target, header, body, result)
      }
    }
    await folder?.finish()
    return result
  } catch (thrown) {
    await entries.cancel(thrown).catch(() => undefined)
    throw asVm0Error(thrown, target)
  }
}

/** What the file system says has a system call's name; what the archive's reader says has not. */
export function asVm0Error(thrown: unknown, target: string): Vm0Error {
  if (thrown instanceof Vm0Error) return thrown
  const { message, syscall } = thrown as NodeJS.ErrnoException
  return syscall
    ? new Vm0Error('FILE_INVALID', `writing into ${target} failed: ${message}`, {
        cause: thrown,
        hint: 'Check the rights and the free space of the local folder.',
      })
    : new Vm0Error('FILE_INVALID', `the archive that the server sent is broken: ${message}`, {
        cause: thrown,
        hint: 'Try again; if it stays, send the server log to the operator.',
      })
}
