import { chunkBytes, maxChunks, Vm0Error, type Chunk, type ChunkListHead } from '@vm0/contract/client'
import { connectionLost, lineError, linesOf, type Http, type RequestBody } from '../../http.js'

type Line =
  | ChunkListHead
  | [lengthBytes: number, digest: string]
  | { end: true }
  | { type: 'error'; code: string; message: string; hint: string }

export interface RemoteChunks extends ChunkListHead {
  /** Resolves when the list is whole. */
  chunks: Promise<Chunk[]>
}

export const post = (body: object) => ({
  method: 'POST',
  headers: { 'content-type': 'application/octet-stream' },
  body: () => `${JSON.stringify(body)}\n` as RequestBody,
  patient: true,
})

/** What a file in the session is made of; the list may still be on its way when this resolves. */
export async function remoteChunks(
  http: Http,
  address: string,
  expected: string | undefined,
  signal?: AbortSignal,
): Promise<RemoteChunks> {
  const response = await http.request(address, { ...post({ v: 1, expected }), signal })
  const lines = linesOf<Line>(response, signal)
  const first = await lines.next()
  if (first.done) throw connectionLost(new Error('the list of pieces has no beginning'), signal)
  const head = first.value
  if ('type' in head) throw lineError(head)
  if (!('arrivedBytes' in head)) throw strange('it begins with something else')
  const chunks = readList(lines, head.file?.sizeBytes ?? 0, signal)
  chunks.catch(() => undefined)
  return { ...head, chunks }
}

/** The list comes out of a sandbox: it must be one that can be. */
async function readList(lines: AsyncIterable<Line>, sizeBytes: number, signal?: AbortSignal): Promise<Chunk[]> {
  const chunks: Chunk[] = []
  let [bytes, isWhole] = [0, false]
  for await (const line of lines) {
    if (!Array.isArray(line)) {
      if ('type' in line) throw lineError(line)
      isWhole = true
      continue
    }
    const [lengthBytes, digest] = line
    if (!Number.isInteger(lengthBytes) || lengthBytes < 1 || lengthBytes > chunkBytes.max)
      throw strange(`a piece of ${lengthBytes} bytes`)
    chunks.push({ lengthBytes, digest: String(digest) })
    bytes += lengthBytes
    if (bytes > sizeBytes || chunks.length > maxChunks) throw strange(`more pieces than ${sizeBytes} bytes have`)
  }
  if (!isWhole) throw connectionLost(new Error('the list of pieces has no end'), signal)
  if (bytes !== sizeBytes) throw strange(`pieces of ${bytes} bytes for ${sizeBytes}`)
  return chunks
}

const strange = (what: string): Vm0Error =>
  new Vm0Error('FILE_CHANGED', `the list of a file's pieces is not one that can be: ${what}`, {
    hint: 'The file changes in the session: try again.',
  })
