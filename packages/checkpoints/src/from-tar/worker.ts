import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, createReadStream, openSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { createGunzip } from 'node:zlib'
import { Vm0Error, webStreamOf } from '@vm0/contract'
import { digestOfFd } from '../digest.js'
import { ErofsImage } from '../erofs/image.js'
import type { LayerReference } from '../store.js'
import { Budget, type ImportLimits, type Spent } from './budget.js'
import { buildImage } from './build-image.js'
import { readTar } from './read-tar.js'

export interface FromTarTask {
  /** A layer's blob. */
  blob: string
  compression: 'none' | 'gzip' | 'zstd'
  /** Of its plain tar. */
  diffId: string
  /** Files to be made: the erofs image, and the files' data meanwhile. */
  image: string
  spool: string
  limits: ImportLimits
  /** What the layers before it have taken. */
  spent: Spent
}

export type FromTarResult = { reference: LayerReference; spent: Spent } | { code: Vm0Error['code']; message: string }

/** A thread that makes a layer of a tar from outside: what it says is checked, its bytes are never mounted. */
const task = workerData as FromTarTask
const port = parentPort as MessagePort
try {
  port.postMessage((await build()) satisfies FromTarResult)
} catch (error) {
  const { code, message } = error as Error & { code?: string }
  if (error instanceof Vm0Error) port.postMessage({ code: error.code, message })
  else if (code === 'ENOSPC') port.postMessage({ code: 'HOST_DISK_FULL', message: `no room to unpack: ${message}` })
  // What the parsers of tar, zstd and gzip can't read.
  else port.postMessage({ code: 'ARCHIVE_CORRUPT', message: `a layer could not be read: ${message}` })
}

async function build(): Promise<FromTarResult> {
  const budget = new Budget(task.limits, task.spent)
  const hash = createHash('sha256')
  const spool = openSync(task.spool, 'wx+', 0o600)
  const plain = new PassThrough({ highWaterMark: 1024 ** 2 })
  const count = async function* (source: AsyncIterable<Uint8Array>) {
    for await (const chunk of source) {
      budget.bytes(chunk.length)
      hash.update(chunk)
      yield chunk
    }
  }
  const failed: unknown[] = []
  const unpacking = decompress(count, plain).catch((error: unknown) => {
    failed.push(error)
    plain.destroy(error as Error)
  })
  const tree = await readTar(webStreamOf(plain), spool, budget).catch((error: unknown) => {
    plain.destroy()
    // The first cause: that it was too large, not that it then ended early.
    throw failed[0] ?? error
  })
  await unpacking
  if (failed.length > 0) throw failed[0]
  const found = `sha256:${hash.digest('hex')}`
  if (found !== task.diffId)
    throw new Vm0Error(
      'ARCHIVE_CORRUPT',
      `a layer has the digest ${found} when it is unpacked; expected ${task.diffId}`,
    )
  const file = openSync(task.image, 'wx+', 0o600)
  const sizeBytes = buildImage(tree, spool, new ErofsImage(file))
  const reference = { digest: digestOfFd(file), sizeBytes }
  closeSync(file)
  closeSync(spool)
  return { reference, spent: budget.spent }
}

type Filter = (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array>

async function decompress(filter: Filter, target: PassThrough): Promise<void> {
  const blob = createReadStream(task.blob, { highWaterMark: 1024 ** 2 })
  if (task.compression === 'none') return pipeline(blob, filter, target)
  if (task.compression === 'gzip') return pipeline(blob, createGunzip(), filter, target)
  // A frame that asks for more memory is refused.
  const zstd = spawn('zstd', ['-q', '-d', '-c', '--memory=128MiB'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = new Promise<number | null>((resolve) => zstd.once('close', resolve))
  try {
    const fed = pipeline(blob, zstd.stdin).catch(() => undefined)
    await pipeline(zstd.stdout, filter, target)
    await fed
    const status = await ended
    if (status !== 0) throw new Error(`zstd ended with ${status ?? 'a signal'}`)
  } finally {
    zstd.kill('SIGKILL')
  }
}
