import { on } from 'node:events'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import type { FromUnpacker, ThreadTask, ToUnpacker } from './messages.js'
import { unpackContent } from './unpack-content.js'

/** A thread that unpacks one object, which comes in pieces. */
const port = parentPort as MessagePort
const say = (message: FromUnpacker): void => port.postMessage(message)
const { pieces, ...task } = workerData as ThreadTask

async function* compressed(): AsyncGenerator<Uint8Array> {
  for await (const [message] of on(port, 'message') as AsyncIterable<[ToUnpacker]>) {
    if (message === 'end') return
    const { piece, length } = message
    yield new Uint8Array(pieces[piece] as SharedArrayBuffer, 0, length)
    say({ type: 'taken', piece })
  }
}

try {
  say({ type: 'done', digest: await unpackContent(task, compressed()) })
} catch (error) {
  say({ type: 'failed', message: (error as Error).message })
}
port.close()
