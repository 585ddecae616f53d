import type { CheckpointManifest, CheckpointStore } from '@vm0/checkpoints'
import { Vm0Error, type TemplatePort } from '@vm0/contract'

/** The images of templates, made in this host's own store. `without`: paths of the sandbox that no template takes along. */
export function templatePort(store: CheckpointStore, standard: string, without: readonly string[]): TemplatePort {
  return {
    standard,
    async make({ projectId, template, checkpoint, facts }, signal) {
      const manifest = checkpoint === null ? undefined : await loadOwn(store, projectId, checkpoint)
      const paths = without.map((path) => path.slice(1))
      return store.templates.make({ projectId, template, manifest, facts, without: paths }, signal)
    },
    receiveImage: (content) => store.templates.receive(content),
    async shadowed({ projectId, checkpoint, template }, signal) {
      return store.templates.shadowed(await loadOwn(store, projectId, checkpoint), template, signal)
    },
    async merged({ projectId, checkpoint, ...to }, signal) {
      return store.templates.merged(await loadOwn(store, projectId, checkpoint), to, signal)
    },
    async upgrade({ projectId, checkpoint: id, ...to }) {
      return store.templates.upgrade({ id, manifest: await loadOwn(store, projectId, id) }, to)
    },
    describe: (document) => store.templates.describe(document),
  }
}

async function loadOwn(store: CheckpointStore, projectId: string, id: string): Promise<CheckpointManifest> {
  const manifest = await store.load(id)
  if (manifest.projectId !== projectId)
    throw new Vm0Error('CHECKPOINT_NOT_FOUND', `checkpoint ${id} does not exist in this project`)
  return manifest
}
