import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { OpenImages, type ImageFiles } from '../erofs/open-images.js'
import { findShadowed } from './shadow.js'

export interface ShadowTask {
  /** Files of the session's layers, the topmost first. */
  layers: ImageFiles[]
  /** Files of the template that they lie over, and of the one that they are to lie over. */
  before: ImageFiles
  after: ImageFiles
  limit: number
}

/** A thread that compares two templates under a session's layers: it reads images, and that blocks. */
const { layers, before, after, limit } = workerData as ShadowTask
const images = new OpenImages()
const found = findShadowed(
  { layers: layers.map((each) => images.open(each)), before: images.open(before), after: images.open(after) },
  limit,
)
images.close()
;(parentPort as MessagePort).postMessage(found)
