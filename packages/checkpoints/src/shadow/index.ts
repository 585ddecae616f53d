import type { Shadowed } from '@vm0/contract'
import { runWorker } from '../run-worker.js'
import type { ShadowTask } from './worker.js'

/** What layers hide of the changes between two templates, in a thread. Nothing is mounted. */
export function shadowedChanges(task: ShadowTask, signal?: AbortSignal): Promise<Shadowed> {
  return runWorker<Shadowed>(import.meta.url, task, { signal, what: 'compares templates' })
}
