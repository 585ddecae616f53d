import { on } from 'node:events'
import { availableParallelism } from 'node:os'
import pLimit from 'p-limit'
import type { CaptureMessage, CapturedLayer, CaptureTask } from './messages.js'
import { giveThread, takeThread } from './threads.js'

export type { EarlierLayer } from './earlier-files.js'
export type { CapturedLayer } from './messages.js'

/** Many sessions may be saved at once, as when the platform stops: more threads than processors would only make each freeze longer. */
const turn = pLimit(Math.max(2, availableParallelism()))

/**
 * Makes a layer of what changed in an upper since an index was written; null when nothing did. `whileFrozen` is called
 * once, when all is copied that can be while the sandbox goes on, and has nobody write for as long as its argument takes.
 */
export function captureUpper(
  task: CaptureTask,
  whileFrozen: (capture: () => Promise<void>) => Promise<void>,
): Promise<CapturedLayer | null> {
  return turn(() => captureInThread(task, whileFrozen))
}

async function captureInThread(
  task: CaptureTask,
  whileFrozen: (capture: () => Promise<void>) => Promise<void>,
): Promise<CapturedLayer | null> {
  const worker = takeThread()
  // A queue: the last message may come while the caller thaws.
  const messages = on(worker, 'message', { close: ['exit'] })
  const next = async <T extends CaptureMessage['type']>(type: T): Promise<Extract<CaptureMessage, { type: T }>> => {
    const { value, done } = await messages.next()
    const [message] = (done ? [] : value) as [CaptureMessage?]
    if (message?.type !== type)
      throw new Error(`the thread that packs the layer ${message ? `said ${message.type}` : 'ended'} before ${type}`)
    return message as Extract<CaptureMessage, { type: T }>
  }
  try {
    worker.postMessage(task)
    await next('ready')
    await whileFrozen(async () => {
      worker.postMessage('frozen')
      await next('captured')
    })
    const { layer } = await next('done')
    await messages.return?.()
    giveThread(worker)
    return layer
  } catch (error) {
    // What it is in the middle of, or died of, is nobody's.
    await worker.terminate()
    throw error
  }
}
