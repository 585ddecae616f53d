import { toVm0Error } from '@vm0/contract'
import type { LayerStore } from '../layers/layer-store.js'
import type { CheckpointManifest } from '../store.js'
import type { References } from './references.js'

export interface FsckOptions {
  layers: LayerStore
  load(id: string): Promise<CheckpointManifest>
  references: References
  /** Read every byte and compare its digest, instead of asking only whether the objects are there. */
  deep: boolean
}

export interface FsckReport {
  checkpoints: number
  layers: number
  /** What is wrong; `checkpoints` are those that can't be restored because of it. */
  problems: { message: string; checkpoints: string[] }[]
}

/** Whether everything is there and whole that the checkpoints with a row are made of. */
export async function checkStore({ layers, load, references, deep }: FsckOptions): Promise<FsckReport> {
  const report: FsckReport = { checkpoints: 0, layers: 0, problems: [] }
  // Layers are shared by many checkpoints: each is looked at once.
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
  for await (const id of references.checkpoints()) {
    report.checkpoints += 1
    let manifest: CheckpointManifest | undefined
    const unreadable = await problemOf(async () => (manifest = await load(id)))
    unreadable?.checkpoints.push(id)
    for (const layer of manifest?.layers ?? []) {
      const { projectId } = manifest as CheckpointManifest
      const key = `${projectId} ${layer.digest}`
      if (!outcomes.has(key)) {
        report.layers += 1
        outcomes.set(key, await problemOf(() => layers.check(projectId, layer, deep)))
      }
      outcomes.get(key)?.checkpoints.push(id)
    }
  }
  return report
}
