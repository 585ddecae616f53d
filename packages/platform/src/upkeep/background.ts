import { defaultGraceMs } from '@vm0/contract'
import type { Logger } from 'pino'
import type { Upkeep } from './upkeep.js'

export interface BackgroundOptions {
  upkeep: Upkeep
  /** From the end of one collection to the next; 0: never. */
  everyMs: number
  logger: Logger
}

/** Removes by itself what the policy lets go and what nobody needs, one collection after the other; returns the way to end it. */
export function collectInBackground({ upkeep, everyMs, logger }: BackgroundOptions): () => Promise<void> {
  const ending = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  const collect = async (): Promise<void> => {
    try {
      const call = { onProgress: () => undefined, signal: ending.signal }
      const expired = await upkeep.expire(ending.signal)
      if (expired > 0) logger.info({ expired }, 'checkpoints that the retention policy does not keep were removed')
      const report = await upkeep.gc({ graceMs: defaultGraceMs, dryRun: false }, call)
      if (report.removed > 0) logger.info(report, 'objects that nothing refers to were removed from the store')
    } catch (error) {
      // A damaged manifest keeps all from being collected: an operator has to know.
      if (!ending.signal.aborted) logger.error({ error }, 'the store could not be collected')
    }
    plan()
  }
  const plan = (): void => {
    if (everyMs <= 0 || ending.signal.aborted) return
    timer = setTimeout(() => (running = collect()), everyMs).unref()
  }
  plan()
  return async () => {
    ending.abort(new Error('the platform stops'))
    clearTimeout(timer)
    await running
  }
}
