import { closeSync, openSync } from 'node:fs'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { ErofsReader } from '../erofs/reader.js'
import { mergedLists } from './find.js'

export interface MergeTask {
  /** Files of the session's layers, the topmost first. */
  layers: string[]
  /** Files of the template that they lie over, and of the one that they are to lie over. */
  before: string
  after: string
}

/** A thread that merges lists of packages: it reads images, and that blocks. */
const { layers, before, after } = workerData as MergeTask
const opened: number[] = []
const open = (path: string): ErofsReader => {
  const fd = openSync(path, 'r')
  opened.push(fd)
  return new ErofsReader(fd)
}
const lists = mergedLists({ layers: layers.map(open), before: open(before), after: open(after) })
for (const fd of opened) closeSync(fd)
;(parentPort as MessagePort).postMessage(lists)
