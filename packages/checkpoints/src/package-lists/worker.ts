import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { OpenImages, type ImageFiles } from '../erofs/open-images.js'
import { mergedLists } from './find.js'

export interface MergeTask {
  /** Files of the session's layers, the topmost first. */
  layers: ImageFiles[]
  /** Files of the template that they lie over, and of the one that they are to lie over. */
  before: ImageFiles
  after: ImageFiles
}

/** A thread that merges lists of packages: it reads images, and that blocks. */
const { layers, before, after } = workerData as MergeTask
const images = new OpenImages()
const lists = mergedLists({
  layers: layers.map((each) => images.open(each)),
  before: images.open(before),
  after: images.open(after),
})
images.close()
;(parentPort as MessagePort).postMessage(lists)
