import { toVm0Error } from '@vm0/contract'
import type { LayerStore } from '../layers/layer-store.js'
import { imagesOf, type CheckpointManifest } from '../store.js'
import type { References } from './references.js'

export interface FsckOptions {
  layers: LayerStore
  load(id: string): Promise<CheckpointManifest>
  /** Rejects when a template's image is missing, or (deep) isn't what it should be. Without it templates aren't looked at. */
  checkTemplate?: ((digest: string, projectId: string, deep: boolean) => Promise<void>) | undefined
  references: References
  /** Read every byte and compare its digest, instead of asking only whether the objects are there. */
  deep: boolean
  onProgress?: ((checkpoints: number) => void) | undefined
  signal?: AbortSignal | undefined
}

export interface FsckReport {
  checkpoints: number
  layers: number
  templates: number
  /** What is wrong; `checkpoints` are those that can't be restored because of it. */
  problems: { message: string; checkpoints: string[] }[]
}

/** Whether everything is there and whole that the checkpoints with a row are made of. */
export async function checkStore(options: FsckOptions): Promise<FsckReport> {
  const { layers, load, checkTemplate, references, deep, onProgress, signal } = options
  const report: FsckReport = { checkpoints: 0, layers: 0, templates: 0, problems: [] }
  // Layers and templates are shared by many checkpoints: each is looked at once.
  const outcomes = new Map<string, FsckReport['problems'][number] | null>()
  const problemOf = async (check: () => Promise<unknown>): Promise<FsckReport['problems'][number] | null> => {
    try {
      await check()
      return null
    } catch (error) {
      const problem = { message: toVm0Error(error).message, checkpoints: [] }
      report.problems.push(problem)
      return problem
    }
  }
  const checkOnce = async (
    key: string,
    id: string | undefined,
    kind: 'layers' | 'templates',
    check: () => Promise<unknown>,
  ) => {
    if (!outcomes.has(key)) {
      signal?.throwIfAborted()
      report[kind] += 1
      outcomes.set(key, await problemOf(check))
    }
    const hit = outcomes.get(key)?.checkpoints
    if (id !== undefined && hit?.at(-1) !== id) hit?.push(id)
  }
  for await (const id of references.checkpoints()) {
    signal?.throwIfAborted()
    let manifest: CheckpointManifest | undefined
    const unreadable = await problemOf(async () => (manifest = await load(id)))
    unreadable?.checkpoints.push(id)
    if (manifest) {
      const { projectId, template } = manifest
      if (checkTemplate)
        await checkOnce(`${projectId} ${template}`, id, 'templates', () => checkTemplate(template, projectId, deep))
      for (const layer of manifest.layers.flatMap(imagesOf))
        await checkOnce(`${projectId} ${layer.digest}`, id, 'layers', () => layers.check(projectId, layer, deep))
    }
    report.checkpoints += 1
    onProgress?.(report.checkpoints)
  }
  if (checkTemplate)
    for await (const { projectId, digest } of references.templates())
      await checkOnce(`${projectId} ${digest}`, undefined, 'templates', () => checkTemplate(digest, projectId, deep))
  return report
}
