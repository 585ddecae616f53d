import { closeSync, openSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { digestOfFd } from '../digest.js'
import { ErofsImage } from '../erofs/image.js'
import { OpenImages, type ImageFiles } from '../erofs/open-images.js'
import type { LayerReference } from '../store.js'
import { mergeLayers } from './merge.js'

export interface SquashTask {
  /** Files of the layers to be made one, and of what lies below them; each the topmost first. */
  layers: ImageFiles[]
  below: ImageFiles[]
  /** Paths from the root that are left out; one that ends in `/*` leaves the folder itself. */
  without?: string[]
  /** The file to be made. */
  image: string
}

/** A thread that makes one layer of several, when nobody else wants the processor. */
const { layers, below, without = [], image } = workerData as SquashTask
setPriority(10) // of this thread: Linux counts it by thread
const images = new OpenImages()
const file = openSync(image, 'wx+', 0o600)
const sizeBytes = mergeLayers(
  layers.map((each) => images.open(each)),
  below.map((each) => images.open(each)),
  new ErofsImage(file),
  new Set(without),
)
const reference: LayerReference = { digest: digestOfFd(file), sizeBytes }
images.close()
closeSync(file)
;(parentPort as MessagePort).postMessage(reference)
