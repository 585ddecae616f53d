import type { CheckpointManifest, CheckpointStore } from '@vm0/checkpoints'
import { Vm0Error, type DiffPort } from '@vm0/contract'

/** Comparisons by this host's own store of layers. */
export function checkpointDiffs(store: CheckpointStore): DiffPort {
  const load = async (projectId: string, id: string): Promise<CheckpointManifest> => {
    const manifest = await store.load(id)
    if (manifest.projectId !== projectId)
      throw new Vm0Error('CHECKPOINT_NOT_FOUND', `checkpoint ${id} does not exist in this project`)
    return manifest
  }
  return {
    async diff({ projectId, before, after, path, patch, limit, cursor }, signal) {
      const [was, is] = await Promise.all([before === null ? null : load(projectId, before), load(projectId, after)])
      // Counted once, with the first page; below `/` there is nothing else.
      const elsewhere = cursor === undefined && path !== '/'
      return store.diff(was, is, { path, patch, limit, after: cursor, elsewhere }, signal)
    },
  }
}
