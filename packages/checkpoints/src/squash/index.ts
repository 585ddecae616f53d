import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { LayerReference } from '../store.js'
import { workerFile } from '../worker-file.js'
import type { SquashTask } from './worker.js'

export { chooseSquash } from './choose.js'

/** Makes one layer of several, in a thread of low priority; an abort ends it. */
export async function squashLayers(task: SquashTask, signal?: AbortSignal): Promise<LayerReference> {
  const worker = new Worker(workerFile(import.meta.url), {
    workerData: task,
    execArgv: [],
    resourceLimits: { stackSizeMb: 64 },
  })
  const wait = new AbortController()
  const stop = (): void => wait.abort(signal?.reason)
  signal?.addEventListener('abort', stop, { once: true })
  try {
    signal?.throwIfAborted()
    const exited = once(worker, 'exit', { signal: wait.signal }).then((): never => {
      throw new Error('the thread that squashes layers ended too early')
    })
    const [reference] = (await Promise.race([once(worker, 'message', { signal: wait.signal }), exited])) as [
      LayerReference,
    ]
    return reference
  } finally {
    signal?.removeEventListener('abort', stop)
    wait.abort()
    await worker.terminate()
  }
}
