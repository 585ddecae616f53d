import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { TarHeader } from 'modern-tar'
import { bytesOf } from '../http.js'
import { FolderWriter, writeFile } from './folder-writer.js'
import type { TransferProgress } from './sync/progress.js'
import { readTarEntries } from './tar-entries.js'

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
  /** Of the files' contents, as far as they weren't here. */
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
  let folder: FolderWriter | undefined
  const take = async (header: TarHeader, body: ReadableStream<Uint8Array>): Promise<void> => {
    if (header.type === 'directory') folder ??= new FolderWriter(target, outsideLinks, result)
    if (folder) return folder.write(header, body)
    await mkdir(dirname(target), { recursive: true })
    return writeFile(target, header, body, result)
  }
  await readTarEntries(bytesOf(response, signal), target, take, () => folder?.finish())
  return result
}
