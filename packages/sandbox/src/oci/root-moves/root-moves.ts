import { Worker } from 'node:worker_threads'
import { workerFile } from '@vm0/process'
import type { Outcome, Request, RootMove } from './task.js'

/**
 * Moves sandboxes to another root, in a thread of its own: that one has to enter their mount namespaces, which threads that
 * share a root with others can't.
 */
export class RootMoves {
  private worker: Worker | undefined
  private serial = 0
  private readonly waiting = new Map<number, (outcome: Outcome) => void>()

  /** Has the thread there when it is needed. */
  prepare(): void {
    if (this.worker) return
    const worker = new Worker(workerFile(import.meta.url), { execArgv: [] })
    this.worker = worker
    worker.unref()
    worker.on('message', (outcome: Outcome) => {
      this.waiting.get(outcome.id)?.(outcome)
      this.waiting.delete(outcome.id)
    })
    const ended = (error: string): void => {
      if (this.worker !== worker) return
      this.worker = undefined
      for (const [id, tell] of this.waiting) tell({ id, error })
      this.waiting.clear()
    }
    worker.on('error', (error) => ended((error as Error).message))
    worker.on('exit', () => ended('the thread that enters mount namespaces has ended'))
  }

  /** When it has failed the sandbox is of no more use: some of its mounts may be in one root, some in the other. */
  async move(move: RootMove): Promise<void> {
    this.prepare()
    const request: Request = { id: (this.serial += 1), move }
    const { error } = await new Promise<Outcome>((resolve) => {
      this.waiting.set(request.id, resolve)
      this.worker?.postMessage(request)
    })
    if (error !== undefined) throw new Error(`the sandbox could not be given another root: ${error}`)
  }

  async close(): Promise<void> {
    await this.worker?.terminate()
  }
}
