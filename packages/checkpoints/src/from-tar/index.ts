import { Vm0Error } from '@vm0/contract'
import { runWorker } from '../run-worker.js'
import type { LayerReference } from '../store.js'
import type { Spent } from './budget.js'
import type { FromTarResult, FromTarTask } from './worker.js'

export type { ImportLimits, Spent } from './budget.js'

/** Makes a layer of a blob from outside, in a thread; throws ARCHIVE_INVALID, ARCHIVE_CORRUPT or ARCHIVE_TOO_LARGE. */
export async function layerFromTar(
  task: FromTarTask,
  signal?: AbortSignal,
): Promise<{ reference: LayerReference; spent: Spent }> {
  const result = await runWorker<FromTarResult>(import.meta.url, task, { signal, what: 'makes a layer of a tar' })
  if ('code' in result) throw new Vm0Error(result.code, result.message)
  return result
}
