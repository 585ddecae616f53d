import { Worker } from 'node:worker_threads'
import { workerFile } from '@vm0/process'
import type { FromUnpacker, ThreadTask, ToUnpacker } from './messages.js'
import type { UnpackTask } from './unpack-content.js'

/** What is on its way to the thread at most: so many pieces of so many bytes. */
const pieceBytes = 512 * 1024
const maxPieces = 8

/** The same in a thread of its own: bytes are received and opened here while those before them are decompressed, digested and written there. */
export async function unpackInThread(task: UnpackTask, compressed: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces = Array.from({ length: maxPieces }, () => new SharedArrayBuffer(pieceBytes))
  const free = pieces.map((_, index) => index)
  const workerData: ThreadTask = { ...task, pieces }
  const worker = new Worker(workerFile(import.meta.url), { workerData, execArgv: [] })
  let isOver = false
  let wake = (): void => undefined
  const result = new Promise<string>((resolve, reject) => {
    worker.on('message', (message: FromUnpacker) => {
      if (message.type === 'done') resolve(message.digest)
      else if (message.type === 'failed') reject(new Error(message.message))
      else {
        free.push(message.piece)
        wake()
      }
    })
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('the thread that unpacks it ended too early')))
  }).finally(() => {
    isOver = true
    wake()
  })
  const send = (message: ToUnpacker): void => worker.postMessage(message)
  const feed = async (): Promise<void> => {
    let piece: number | undefined
    let filled = 0
    for await (const chunk of compressed) {
      for (let at = 0; at < chunk.length;) {
        while ((piece ??= free.pop()) === undefined) {
          if (isOver) return
          await new Promise<void>((resolve) => (wake = resolve))
        }
        const part = chunk.subarray(at, at + pieceBytes - filled)
        new Uint8Array(pieces[piece] as SharedArrayBuffer).set(part, filled)
        at += part.length
        filled += part.length
        if (filled < pieceBytes) continue
        send({ piece, length: filled })
        piece = undefined
        filled = 0
      }
    }
    if (piece !== undefined) send({ piece, length: filled })
    send('end')
  }
  try {
    // A failure there comes before the end of the content.
    await Promise.race([feed(), result])
    return await result
  } finally {
    await worker.terminate()
  }
}
