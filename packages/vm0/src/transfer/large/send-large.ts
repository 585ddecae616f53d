import {
  cutFromBytes,
  maxParts,
  type Vm0Error,
  webStreamOf,
  type FilePatch,
  type PatchPart,
} from '@vm0/contract/client'
import type { Http, RequestBody } from '../../http.js'
import { counted } from '../counted.js'
import { overBreaks } from '../sync/over-breaks.js'
import { packBytes } from '../sync/packs.js'
import type { FileCall } from './calls.js'
import { LocalFile } from './local-file.js'
import { partsOf } from './parts.js'
import { remoteChunks } from './remote-chunks.js'

export interface LargeFile {
  /** Here. */
  path: string
  /** The sha256 of its content in hex, where it is known. */
  content?: string | undefined
}

interface SendOptions {
  signal?: AbortSignal | undefined
  /** Is told of the bytes that move, and of those that the session has. */
  onBytes(bytes: number): void
  onSpared(bytes: number): void
}

/**
 * Sends a big file: of what the session has at its place only the pieces that differ, and after a break only what has not
 * arrived. False where it is not for this way, and is to be sent whole: nothing is there to compare it with and it is no
 * loss to send it again, or what is there changes.
 */
export async function sendLarge(
  http: Http,
  call: FileCall,
  { path, content }: LargeFile,
  { signal, onBytes, onSpared }: SendOptions,
): Promise<boolean> {
  await using source = await LocalFile.open(path)
  if (!source) return false
  const { info } = source
  const digest = content || (await source.digest())
  let pieces: ReturnType<LocalFile['chunks']> | undefined
  let sparedBytes = 0
  let sentBytes = 0
  let isForWhole = false
  const attempt = async (): Promise<void> => {
    const remote = await remoteChunks(http, await call('chunks'), digest, signal)
    const { file, arrivedBytes } = remote
    const hasBasis = file !== null && file.sizeBytes >= cutFromBytes
    isForWhole = !hasBasis && arrivedBytes === 0 && info.size < packBytes
    if (isForWhole) return
    const fromBytes = arrivedBytes <= info.size ? arrivedBytes : 0
    let parts: PatchPart[] = fromBytes < info.size ? [['here', info.size - fromBytes]] : []
    if (hasBasis) {
      const [here, there] = await Promise.all([(pieces ??= source.chunks()), remote.chunks])
      parts = partsOf(here, there, fromBytes)
      isForWhole = parts.length > maxParts
      if (isForWhole) return
    }
    const spared = parts.reduce((sum, [from, bytes]) => (from === 'there' ? sum + bytes : sum), 0)
    if (spared > sparedBytes) onSpared(spared - sparedBytes)
    sparedBytes = Math.max(sparedBytes, spared)
    const { size: sizeBytes, mtimeMs: modifiedMs, mode } = info
    const patch: FilePatch = { v: 1, digest, sizeBytes, mode: mode & 0o777, modifiedMs, fromBytes, parts }
    await sendPatch(http, await call('patches'), source, patch, signal, (bytes) => {
      sentBytes += bytes
      onBytes(bytes)
    })
  }
  let before = 0
  const hasMoved = (): boolean => {
    const moved = sentBytes > before
    before = sentBytes
    return moved
  }
  try {
    await overBreaks(signal, attempt, hasMoved)
  } catch (thrown) {
    if ((thrown as Vm0Error).code !== 'FILE_CHANGED') throw thrown
    if (await source.hasChanged()) throw source.changed()
    return false
  }
  return !isForWhole
}

async function sendPatch(
  http: Http,
  address: string,
  source: LocalFile,
  patch: FilePatch,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<void> {
  let unreadable: unknown
  async function* body(): AsyncGenerator<Uint8Array> {
    try {
      yield Buffer.from(`${JSON.stringify(patch)}\n`)
      let at = patch.fromBytes
      for (const [from, bytes] of patch.parts) {
        if (from === 'here') yield* counted(source.read(at, at + bytes), onBytes)
        at += bytes
      }
    } catch (error) {
      unreadable = error
      throw error
    }
  }
  try {
    await http.json(address, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: () => webStreamOf(body()) as RequestBody,
      signal,
      patient: true,
      // What has arrived is asked for first.
      retry: false,
    })
  } catch (thrown) {
    throw unreadable ?? thrown
  }
}
