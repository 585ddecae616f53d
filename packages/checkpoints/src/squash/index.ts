import { runWorker } from '../run-worker.js'
import type { LayerReference } from '../store.js'
import type { SquashTask } from './worker.js'

export { chooseSquash } from './choose.js'

/** Makes one layer of several, in a thread of low priority; an abort ends it. */
export function squashLayers(task: SquashTask, signal?: AbortSignal): Promise<LayerReference> {
  return runWorker<LayerReference>(import.meta.url, task, { signal, what: 'squashes layers' })
}
