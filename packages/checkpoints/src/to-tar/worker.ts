import { spawn } from 'node:child_process'
import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { OpenImages, type ImageFiles } from '../erofs/open-images.js'
import { layerTar } from './write-tar.js'

export interface ToTarTask {
  /** The erofs image of a layer. */
  image: ImageFiles
  /** The file to be made: its tar, compressed by zstd. */
  target: string
}

export interface TarBlob {
  /** Of the compressed file. */
  digest: string
  sizeBytes: number
  /** Of the plain tar. */
  diffId: string
}

/** A thread that makes one blob of an OCI image. */
const { image, target } = workerData as ToTarTask
const images = new OpenImages()
const plain = createHash('sha256')
const packed = createHash('sha256')
let sizeBytes = 0
const zstd = spawn('zstd', ['-q', '-1', '-T2', '-c'], { stdio: ['pipe', 'pipe', 'inherit'] })
const ended = once(zstd, 'close')
await Promise.all([
  pipeline(Readable.fromWeb(layerTar(images.open(image)) as ReadableStream), hashing(plain), zstd.stdin),
  pipeline(
    zstd.stdout,
    hashing(packed, (bytes) => (sizeBytes += bytes)),
    createWriteStream(target, { mode: 0o600 }),
  ),
])
const [status] = (await ended) as [number | null]
if (status !== 0) throw new Error(`zstd ended with ${status ?? 'a signal'}`)
images.close()
const blob: TarBlob = { digest: hex(packed), sizeBytes, diffId: hex(plain) }
;(parentPort as MessagePort).postMessage(blob)

function hashing(hash: Hash, count: (bytes: number) => void = () => undefined) {
  return async function* (source: AsyncIterable<Uint8Array>) {
    for await (const chunk of source) {
      hash.update(chunk)
      count(chunk.length)
      yield chunk
    }
  }
}

function hex(hash: Hash): string {
  return `sha256:${hash.digest('hex')}`
}
