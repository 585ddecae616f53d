import { closeSync, openSync } from 'node:fs'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { ErofsReader } from '../erofs/reader.js'
import { diffPage, type DiffOptions } from './page.js'

export interface DiffTask {
  /** Files of layers, each list with the topmost first. */
  before: string[]
  after: string[]
  shared: string[]
  query: DiffOptions
}

/** A thread that compares two checkpoints: it reads images, and that blocks. */
const { query, ...files } = workerData as DiffTask
const opened: number[] = []
const open = (path: string): ErofsReader => {
  const fd = openSync(path, 'r')
  opened.push(fd)
  return new ErofsReader(fd)
}
const stacks = {
  before: files.before.map(open),
  after: files.after.map(open),
  shared: files.shared.map(open),
}
const page = diffPage(stacks, query)
for (const fd of opened) closeSync(fd)
;(parentPort as MessagePort).postMessage(page)
