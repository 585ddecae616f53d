import type { Http } from '../../http.js'
import { placeFile } from '../folder-writer.js'
import type { DownloadOptions, DownloadResult } from '../receive-tree.js'
import type { UploadOptions, UploadResult } from '../send-tree.js'
import { Progress } from '../sync/progress.js'
import type { FileCall } from './calls.js'
import { fetchLarge } from './fetch-large.js'
import { sendLarge } from './send-large.js'

function counting(sizeBytes: number, tell: UploadOptions['onProgress']) {
  const { moved, spared, done } = new Progress([{ kind: 'file', sizeBytes }], 0, tell).pack([
    { kind: 'file', sizeBytes },
  ])
  const sum = { savedBytes: 0, done }
  const onSpared = (bytes: number): void => {
    sum.savedBytes += bytes
    spared(bytes)
  }
  return { sum, onBytes: moved, onSpared }
}

/** Undefined where it has to be sent whole. */
export async function sendLargeFile(
  http: Http,
  call: FileCall,
  path: string,
  sizeBytes: number,
  { signal, onProgress }: UploadOptions,
): Promise<UploadResult | undefined> {
  const { sum, ...count } = counting(sizeBytes, onProgress)
  if (!(await sendLarge(http, call, { path }, { signal, ...count }))) return undefined
  sum.done()
  return { files: 1, bytes: sizeBytes - sum.savedBytes, savedBytes: sum.savedBytes, removed: [] }
}

/** Undefined where it has to be fetched whole. */
export async function fetchLargeFile(
  http: Http,
  call: FileCall,
  path: string,
  sizeBytes: number,
  { signal, onProgress }: DownloadOptions,
): Promise<DownloadResult | undefined> {
  const { sum, ...count } = counting(sizeBytes, onProgress)
  const place: Parameters<typeof fetchLarge>[3]['place'] = (write) => placeFile(path, write)
  if (!(await fetchLarge(http, call, { sizeBytes, basis: path }, { signal, place, ...count }))) return undefined
  sum.done()
  return { files: 1, bytes: sizeBytes - sum.savedBytes, savedBytes: sum.savedBytes, skipped: [] }
}
