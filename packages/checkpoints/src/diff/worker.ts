import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { OpenImages, type ImageFiles } from '../erofs/open-images.js'
import { diffPage, type DiffOptions } from './page.js'

export interface DiffTask {
  /** Files of layers, each list with the topmost first. */
  before: ImageFiles[]
  after: ImageFiles[]
  shared: ImageFiles[]
  query: DiffOptions
}

/** A thread that compares two checkpoints: it reads images, and that blocks. */
const { query, ...files } = workerData as DiffTask
const images = new OpenImages()
const stacks = {
  before: files.before.map((each) => images.open(each)),
  after: files.after.map((each) => images.open(each)),
  shared: files.shared.map((each) => images.open(each)),
}
const page = diffPage(stacks, query)
images.close()
;(parentPort as MessagePort).postMessage(page)
