import { Worker } from 'node:worker_threads'
import { workerFile } from '@vm0/process'

/** Deep trees are walked by functions that call themselves. */
const stackSizeMb = 64
/** The checkpoints within a run follow each other by seconds. */
const keepMs = 30_000

/** Those that have nothing to do, with what ends them; the last used one at the end. */
const idle = new Map<Worker, NodeJS.Timeout>()

/** A thread that makes layers, one at a time. One that has made some takes half as long: its code is loaded and compiled. */
export function takeThread(): Worker {
  const found = [...idle.keys()].at(-1)
  if (found) {
    clearTimeout(idle.get(found))
    idle.delete(found)
    found.ref()
    return found
  }
  const worker = new Worker(workerFile(import.meta.url), { execArgv: [], resourceLimits: { stackSizeMb } })
  worker.once('exit', () => {
    clearTimeout(idle.get(worker))
    idle.delete(worker)
  })
  return worker
}

/** Takes back a thread that has done what it was asked for. It keeps no process alive, and ends when nobody needs it for a while. */
export function giveThread(worker: Worker): void {
  worker.unref()
  idle.set(worker, setTimeout(() => void worker.terminate(), keepMs).unref())
}
