import { randomBytes } from 'node:crypto'
import type { CheckpointManifest } from '@vm0/checkpoints'
import { defaultResources, type Resources } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { dropUndefined } from './given-resources.js'
import type { RunnerOptions } from './options.js'
import { platformMounts } from './platform-mounts.js'

export interface SandboxRequest {
  projectId: string
  /** Digest of the template. */
  template: string
  /** What is over it. */
  manifest: CheckpointManifest | undefined
  resources: Required<Resources>
}

/** A sandbox made of a template and the layers of a checkpoint. */
export async function makeSandbox(
  { templates, checkpoints, releases, engine }: RunnerOptions,
  { projectId, template, manifest, resources }: SandboxRequest,
): Promise<Sandbox> {
  const [templateImage, layers, mounts] = await Promise.all([
    templates.image(template, projectId),
    manifest ? checkpoints.layerImages(manifest) : [],
    platformMounts(releases),
  ])
  const id = randomBytes(6).toString('hex')
  return engine.create({ id, templateImage, layers, resources, platformMounts: mounts })
}

/** What is asked for counts more than what the session has, and that more than the defaults. */
export function wantedResources(ofSession: Resources, asked: Resources | undefined): Required<Resources> {
  return { ...defaultResources, ...ofSession, ...dropUndefined(asked) }
}
