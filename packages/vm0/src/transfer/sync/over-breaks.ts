import type { Vm0Error } from '@vm0/contract/client'
import { mayPass, pause } from '../../http.js'

const tries = 5

/**
 * Does it again when the connection broke in the middle: what had arrived by then doesn't come twice where `work` looks for it.
 * A try that got something across (`hasMoved`) is none that failed.
 */
export async function overBreaks<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  hasMoved: () => boolean = () => false,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (thrown) {
      if (hasMoved()) attempt = 1
      if (attempt >= tries || signal?.aborted || !mayPass(thrown as Vm0Error)) throw thrown
      await pause(Math.min(4000, 100 * 2 ** attempt), signal)
    }
  }
}
