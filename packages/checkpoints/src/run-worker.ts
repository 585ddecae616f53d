import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { workerFile } from '@vm0/process'

interface WorkerOptions {
  signal?: AbortSignal | undefined
  /** What the thread does, for the message when it ends before it has. */
  what: string
}

/** Starts the thread whose module lies beside the caller's, and gives the one message that it sends; an abort ends it. */
export async function runWorker<T>(importer: string, task: object, { signal, what }: WorkerOptions): Promise<T> {
  const worker = new Worker(workerFile(importer), {
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
      throw new Error(`the thread that ${what} ended too early`)
    })
    const [message] = (await Promise.race([once(worker, 'message', { signal: wait.signal }), exited])) as [T]
    return message
  } finally {
    signal?.removeEventListener('abort', stop)
    wait.abort()
    await worker.terminate()
  }
}
