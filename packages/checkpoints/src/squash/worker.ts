import { closeSync, openSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { digestOfFd } from '../digest.js'
import { ErofsImage } from '../erofs/image.js'
import { ErofsReader } from '../erofs/reader.js'
import type { LayerReference } from '../store.js'
import { mergeLayers } from './merge.js'

export interface SquashTask {
  /** Files of the layers to be made one, and of what lies below them; each the topmost first. */
  layers: string[]
  below: string[]
  /** Paths from the root that are left out; one that ends in `/*` leaves the folder itself. */
  without?: string[]
  /** The file to be made. */
  image: string
}

/** A thread that makes one layer of several, when nobody else wants the processor. */
const { layers, below, without = [], image } = workerData as SquashTask
setPriority(10) // of this thread: Linux counts it by thread
const open = (path: string): { fd: number; reader: ErofsReader } => {
  const fd = openSync(path, 'r')
  return { fd, reader: new ErofsReader(fd) }
}
const upper = layers.map(open)
const lower = below.map(open)
const file = openSync(image, 'wx+', 0o600)
const sizeBytes = mergeLayers(
  upper.map(({ reader }) => reader),
  lower.map(({ reader }) => reader),
  new ErofsImage(file),
  new Set(without),
)
const reference: LayerReference = { digest: digestOfFd(file), sizeBytes }
for (const { fd } of [...upper, ...lower]) closeSync(fd)
closeSync(file)
;(parentPort as MessagePort).postMessage(reference)
