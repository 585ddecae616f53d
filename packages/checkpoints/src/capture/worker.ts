import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs'
import { once } from 'node:events'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { digestOfFd } from '../digest.js'
import { ErofsImage } from '../erofs/image.js'
import { EarlierFiles } from './earlier-files.js'
import { Capture, clockTickMs } from './capture.js'
import type { CaptureMessage, CaptureTask } from './messages.js'
import { Tree } from './tree.js'

/** A thread that makes one layer: system calls, hashing and copying here block nobody else. */
const port = parentPort as MessagePort
const say = (message: CaptureMessage): void => port.postMessage(message)
const { upper, index, image, nextIndex, ignored, earlier } = workerData as CaptureTask

const root = openSync(upper, constants.O_RDONLY | constants.O_DIRECTORY)
const file = openSync(image, 'w+', 0o600)
const made = new ErofsImage(file)
const files = new EarlierFiles(earlier)
const capture = new Capture(root, readIndex(), made, files)

capture.copyWhileLive()
say({ type: 'ready' })
await once(port, 'message')

const frozenAtMs = performance.now()
capture.copyFrozen()
// What is written after the thaw must get another time than what was written before the freeze.
Atomics.wait(
  new Int32Array(new SharedArrayBuffer(4)),
  0,
  0,
  Math.max(0, clockTickMs - (performance.now() - frozenAtMs)),
)
say({ type: 'captured' })
closeSync(root)
files.close()

if (capture.isEmpty || (ignored.length > 0 && !capture.changesBeside(ignored))) say({ type: 'done', layer: null })
else {
  const sizeBytes = capture.writeDirectories()
  writeIndex(capture.index)
  const bases = made.devices
  const reference = { digest: digestOfFd(file), sizeBytes, ...(bases.length > 0 ? { bases } : {}) }
  say({ type: 'done', layer: { reference, changedEntries: capture.changedEntries } })
}
closeSync(file)
port.close()

function readIndex(): Tree {
  if (index === null) return new Tree(0)
  try {
    return Tree.decode(readFileSync(index))
  } catch (cause) {
    throw Object.assign(new Error(`the index of the last checkpoint can't be read: ${(cause as Error).message}`), {
      code: 'INDEX_UNREADABLE',
    })
  }
}

function writeIndex(tree: Tree): void {
  const fd = openSync(nextIndex, 'w', 0o600)
  for (const part of tree.encode()) {
    for (let done = 0; done < part.length;) done += writeSync(fd, part, done)
  }
  closeSync(fd)
}
