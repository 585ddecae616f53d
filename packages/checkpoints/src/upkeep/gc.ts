import type { BlobPort } from '@vm0/backends'
import { objectName, packName } from '../digest.js'
import { imagesOf, type CheckpointManifest } from '../store.js'
import type { References } from './references.js'

const folders = ['manifests/', 'layers/', 'packs/', 'templates/', 'uploads/']

export interface CollectOptions {
  blobs: BlobPort
  load(id: string): Promise<CheckpointManifest>
  references: References
  /** Longer than anything takes from its upload to the row that names it. */
  graceMs: number
  /** Only counts. */
  dryRun?: boolean | undefined
  /** Ends it between two objects: then it fails with the signal's reason. */
  signal?: AbortSignal | undefined
  now?: () => number
}

export interface Collected {
  removed: number
  removedBytes: number
  /** Objects that are in use, or too young to tell. */
  kept: number
}

/**
 * Removes the objects that nothing refers to. Safe beside running saves and uploads, in this process and in others:
 * what was written or renewed within the grace time stays, and the references are read after the list of what is older, so
 * that whatever is committed while the list is made counts. A manifest that can't be read ends it before anything is removed.
 */
export async function collectGarbage({
  blobs,
  load,
  references,
  graceMs,
  dryRun = false,
  signal,
  now = Date.now,
}: CollectOptions): Promise<Collected> {
  const writtenBeforeMs = now() - graceMs
  const old = new Map<string, number>()
  const result: Collected = { removed: 0, removedBytes: 0, kept: 0 }
  for (const folder of folders) {
    for await (const { name, sizeBytes, writtenMs } of blobs.list(folder)) {
      signal?.throwIfAborted()
      if (writtenMs < writtenBeforeMs) old.set(name, sizeBytes)
      else result.kept += 1
    }
  }
  for await (const name of references.objects()) result.kept += Number(old.delete(name))
  const keepImage = (projectId: string, digest: string): void => {
    result.kept += Number(old.delete(objectName('layers', digest)))
    result.kept += Number(old.delete(packName(projectId, digest)))
  }
  for await (const { projectId, digest } of references.templates()) keepImage(projectId, digest)
  for await (const id of references.checkpoints()) {
    result.kept += Number(old.delete(objectName('manifests', id)))
    signal?.throwIfAborted()
    const { projectId, template, layers } = await load(id)
    keepImage(projectId, template)
    for (const { digest } of layers.flatMap(imagesOf)) keepImage(projectId, digest)
  }
  for (const [name, sizeBytes] of old) {
    signal?.throwIfAborted()
    if (dryRun || (await blobs.removeOld(name, writtenBeforeMs))) {
      result.removed += 1
      result.removedBytes += sizeBytes
    } else result.kept += 1
  }
  return result
}
