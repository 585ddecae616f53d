import { randomBytes } from 'node:crypto'
import type { CheckpointManifest } from '@vm0/checkpoints'
import { defaultResources, Vm0Error, type Resources } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { dropUndefined } from './given-resources.js'
import type { RunnerOptions } from './options.js'
import { platformMounts } from './platform-mounts.js'
import type { SandboxAhead } from './pool/sandbox-ahead.js'

export interface SandboxRequest {
  projectId: string
  /** Digest of the template. */
  template: string
  /** What is over it. */
  manifest: CheckpointManifest | undefined
  resources: Required<Resources>
}

/** A sandbox of a template and the layers of a checkpoint: the one that was made ahead, where it fits, or a new one. */
export async function makeSandbox(
  { templates, checkpoints, releases, engine, logger }: RunnerOptions,
  ahead: SandboxAhead,
  { projectId, template, manifest, resources }: SandboxRequest,
): Promise<Sandbox> {
  const [templateImage, layers, mounts] = await Promise.all([
    templates.image(template, projectId),
    manifest ? checkpoints.layerImages(manifest) : [],
    platformMounts(releases),
  ])
  const prepared = ahead.take(resources, mounts)
  try {
    if (prepared) return await prepared.furnish({ templateImage, layers })
  } catch (error) {
    if (!(error instanceof Vm0Error && error.code === 'SANDBOX_START_FAILED')) throw error
    logger.warn({ error }, 'a sandbox that was made ahead could not be used: another is made')
  }
  const id = randomBytes(6).toString('hex')
  return engine.create({ id, templateImage, layers, resources, platformMounts: mounts })
}

/** What is asked for counts more than what the session has, and that more than the defaults. */
export function wantedResources(ofSession: Resources, asked: Resources | undefined): Required<Resources> {
  return { ...defaultResources, ...ofSession, ...dropUndefined(asked) }
}
