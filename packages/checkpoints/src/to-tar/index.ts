import { runWorker } from '../run-worker.js'
import type { TarBlob, ToTarTask } from './worker.js'

export type { TarBlob } from './worker.js'

/** Makes the blob of an OCI image from a layer's erofs image, in a thread; an abort ends it. */
export function layerToTar(task: ToTarTask, signal: AbortSignal): Promise<TarBlob> {
  return runWorker<TarBlob>(import.meta.url, task, { signal, what: 'makes a tar of a layer' })
}
