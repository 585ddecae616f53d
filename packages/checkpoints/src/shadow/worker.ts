import { closeSync, openSync } from 'node:fs'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { ErofsReader } from '../erofs/reader.js'
import { findShadowed } from './shadow.js'

export interface ShadowTask {
  /** Files of the session's layers, the topmost first. */
  layers: string[]
  /** Files of the template that they lie over, and of the one that they are to lie over. */
  before: string
  after: string
  limit: number
}

/** A thread that compares two templates under a session's layers: it reads images, and that blocks. */
const { layers, before, after, limit } = workerData as ShadowTask
const opened: number[] = []
const open = (path: string): ErofsReader => {
  const fd = openSync(path, 'r')
  opened.push(fd)
  return new ErofsReader(fd)
}
const found = findShadowed({ layers: layers.map(open), before: open(before), after: open(after) }, limit)
for (const fd of opened) closeSync(fd)
;(parentPort as MessagePort).postMessage(found)
