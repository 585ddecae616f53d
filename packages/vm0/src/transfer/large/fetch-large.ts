import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { cutFromBytes, isChunk, maxParts, Vm0Error, type FileEntry } from '@vm0/contract/client'
import { bytesOf, type Http } from '../../http.js'
import { overBreaks } from '../sync/over-breaks.js'
import { packBytes } from '../sync/packs.js'
import type { FileCall } from './calls.js'
import { LocalFile } from './local-file.js'
import { piecesOf, rangesOf, type Piece } from './parts.js'
import { post, remoteChunks } from './remote-chunks.js'

interface Fetched {
  /** Of the file in the session. */
  sizeBytes: number
  /** The sha256 of its content in hex, where it is known. */
  content?: string | undefined
  /** What is here in its place, or was. */
  basis: string | undefined
}

interface FetchOptions {
  signal?: AbortSignal | undefined
  /** Makes the file, whole or not at all. */
  place(write: (file: FileHandle) => Promise<void>): Promise<void>
  /** Is told of the bytes that move, and of those that are here. */
  onBytes(bytes: number): void
  onSpared(bytes: number): void
}

/**
 * Fetches a big file: only the pieces that are not here, and after a break those that have not arrived. False where it is
 * not for this way, and is to be fetched whole: nothing is here to compare it with and it is no loss to fetch it again, or
 * it changes.
 */
export async function fetchLarge(
  http: Http,
  call: FileCall,
  { sizeBytes, content, basis }: Fetched,
  options: FetchOptions,
): Promise<boolean> {
  await using source = basis === undefined ? undefined : await LocalFile.open(basis)
  const isCut = source !== undefined && source.info.size >= cutFromBytes && sizeBytes >= cutFromBytes
  // Without a list of pieces, the digest of the whole is what tells that it is right.
  if (!isCut && (sizeBytes < packBytes || !content)) return false
  try {
    const { facts, pieces } = await (isCut
      ? compared(http, call, source, options.signal)
      : straight(http, call, options.signal))
    if (rangesOf(pieces).length > maxParts) return false
    options.onSpared(pieces.reduce((sum, piece) => (piece.hereBytes === undefined ? sum : sum + piece.lengthBytes), 0))
    await options.place(async (file) => {
      await assemble(http, call, { file, source, pieces, content }, options)
      await file.chmod(facts.mode & 0o777)
      await file.utimes(facts.modifiedMs / 1000, facts.modifiedMs / 1000)
    })
    return true
  } catch (thrown) {
    if ((thrown as Vm0Error).code !== 'FILE_CHANGED') throw thrown
    return false
  }
}

interface Plan {
  facts: { mode: number; modifiedMs: number }
  pieces: Piece[]
}

async function compared(http: Http, call: FileCall, source: LocalFile, signal?: AbortSignal): Promise<Plan> {
  const here = source.chunks()
  here.catch(() => undefined)
  return overBreaks(signal, async () => {
    const { file, chunks } = await remoteChunks(http, await call('chunks'), undefined, signal)
    if (!file) throw changed('it is no file any more')
    return { facts: file, pieces: piecesOf(await chunks, await here) }
  })
}

const straightBytes = 1024 ** 2

async function straight(http: Http, call: FileCall, signal?: AbortSignal): Promise<Plan> {
  const entry = await http.json<FileEntry>(await call('stat'), { signal, patient: true })
  if (entry.type !== 'file') throw changed('it is no file any more')
  const pieces: Piece[] = []
  for (let at = 0; at < entry.sizeBytes; at += straightBytes) {
    const lengthBytes = Math.min(straightBytes, entry.sizeBytes - at)
    pieces.push({ atBytes: at, lengthBytes, digest: '', hereBytes: undefined })
  }
  return { facts: { mode: entry.mode, modifiedMs: Date.parse(entry.modifiedAt) }, pieces }
}

interface Assembly {
  file: FileHandle
  source: LocalFile | undefined
  pieces: readonly Piece[]
  content: string | undefined
}

async function assemble(
  http: Http,
  call: FileCall,
  { file, source, pieces, content }: Assembly,
  { signal, onBytes }: FetchOptions,
): Promise<void> {
  const whole = createHash('sha256')
  let done = 0
  const put = async (piece: Piece, bytes: Buffer): Promise<void> => {
    if (piece.digest !== '' && !isChunk(bytes, piece)) throw changed('a piece is another one than was told')
    whole.update(bytes)
    await file.writeFile(bytes)
    done += 1
  }
  const attempt = async (): Promise<void> => {
    const left = pieces.slice(done)
    const ranges = rangesOf(left)
    const address = await call('ranges')
    const response = ranges.length > 0 && (await http.request(address, { ...post({ v: 1, ranges }), signal }))
    const reader = response && new PieceReader(bytesOf(response, signal))
    try {
      for (const piece of left) {
        if (piece.hereBytes !== undefined) await put(piece, await readHere(source as LocalFile, piece.hereBytes, piece))
        else if (reader) {
          const bytes = await reader.take(piece.lengthBytes)
          onBytes(bytes.length)
          await put(piece, bytes)
        }
      }
    } finally {
      if (reader) await reader.close()
    }
  }
  let before = 0
  const hasMoved = (): boolean => {
    const moved = done > before
    before = done
    return moved
  }
  await overBreaks(signal, attempt, hasMoved)
  if (content && whole.digest('hex') !== content) throw changed('it is another one than was told')
}

async function readHere(source: LocalFile, at: number, { lengthBytes }: Piece): Promise<Buffer> {
  const parts: Buffer[] = []
  try {
    for await (const bytes of source.read(at, at + lengthBytes)) parts.push(bytes)
  } catch {
    throw changed('so did the one that is here')
  }
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
}

/** An answer's bytes in pieces of given lengths. */
class PieceReader {
  private held = new Uint8Array()

  constructor(private readonly source: AsyncGenerator<Uint8Array, void>) {}

  async take(lengthBytes: number): Promise<Buffer> {
    const piece = Buffer.allocUnsafe(lengthBytes)
    for (let filled = 0; filled < lengthBytes;) {
      if (this.held.length === 0) {
        const { done, value } = await this.source.next()
        if (done) throw changed('it is shorter than was told')
        this.held = value as Uint8Array<ArrayBuffer>
      }
      const part = this.held.subarray(0, lengthBytes - filled)
      piece.set(part, filled)
      filled += part.length
      this.held = this.held.subarray(part.length)
    }
    return piece
  }

  async close(): Promise<void> {
    await this.source.return()
  }
}

const changed = (how: string): Vm0Error =>
  new Vm0Error('FILE_CHANGED', `a file changed in the session while it was fetched: ${how}`, {
    hint: 'Try again when nothing writes to it.',
  })
