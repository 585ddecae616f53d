import { on } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import pLimit from 'p-limit'
import { workerFile } from '@vm0/process'
import type { CaptureMessage, CapturedLayer, CaptureTask } from './messages.js'

export type { EarlierLayer } from './earlier-files.js'
export type { CapturedLayer } from './messages.js'

/** Many sessions may be saved at once, as when the platform stops: more threads than processors would only make each freeze longer. */
const turn = pLimit(Math.max(2, availableParallelism()))

/** Deep trees are walked by functions that call themselves. */
const stackSizeMb = 64

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
  const worker = new Worker(workerFile(import.meta.url), {
    workerData: task,
    execArgv: [],
    resourceLimits: { stackSizeMb },
  })
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
    await next('ready')
    await whileFrozen(async () => {
      worker.postMessage('frozen')
      await next('captured')
    })
    return (await next('done')).layer
  } finally {
    await worker.terminate()
  }
}
