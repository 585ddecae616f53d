import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs'
import { on } from 'node:events'
import { parentPort, type MessagePort } from 'node:worker_threads'
import { digestOfFd } from '../digest.js'
import { ErofsImage } from '../erofs/image.js'
import { EarlierFiles } from './earlier-files.js'
import { Capture, clockTickMs } from './capture.js'
import type { CapturedLayer, CaptureMessage, CaptureTask } from './messages.js'
import { Tree } from './tree.js'

/** A thread that makes layers, one after the other: system calls, hashing and copying here block nobody else. */
const port = parentPort as MessagePort
const say = (message: CaptureMessage): void => port.postMessage(message)
const messages = on(port, 'message') as AsyncIterableIterator<[unknown]>
const next = async (): Promise<unknown> => ((await messages.next()) as IteratorYieldResult<[unknown]>).value[0]

for (;;) await makeLayer((await next()) as CaptureTask)

async function makeLayer({ upper, index, image, nextIndex, ignored, earlier }: CaptureTask): Promise<void> {
  const root = openSync(upper, constants.O_RDONLY | constants.O_DIRECTORY)
  const file = openSync(image, 'w+', 0o600)
  const made = new ErofsImage(file)
  const files = new EarlierFiles(earlier)
  const capture = new Capture(root, readIndex(index), made, files)

  capture.copyWhileLive()
  say({ type: 'ready' })
  await next()

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

  let layer: CapturedLayer | null = null
  if (!capture.isEmpty && (ignored.length === 0 || capture.changesBeside(ignored))) {
    const sizeBytes = capture.writeDirectories()
    writeIndex(nextIndex, capture.index)
    const bases = made.devices
    const reference = { digest: digestOfFd(file), sizeBytes, ...(bases.length > 0 ? { bases } : {}) }
    layer = { reference, changedEntries: capture.changedEntries }
  }
  closeSync(file)
  say({ type: 'done', layer })
}

function readIndex(index: string | null): Tree {
  if (index === null) return new Tree(0)
  try {
    return Tree.decode(readFileSync(index))
  } catch (cause) {
    throw Object.assign(new Error(`the index of the last checkpoint can't be read: ${(cause as Error).message}`), {
      code: 'INDEX_UNREADABLE',
    })
  }
}

function writeIndex(nextIndex: string, tree: Tree): void {
  const fd = openSync(nextIndex, 'w', 0o600)
  for (const part of tree.encode()) {
    for (let done = 0; done < part.length;) done += writeSync(fd, part, done)
  }
  closeSync(fd)
}
