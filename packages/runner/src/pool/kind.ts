import { isDeepStrictEqual } from 'node:util'
import type { Resources, SessionRef } from '@vm0/contract'
import type { FrameworkDriver, LaunchSpec } from '@vm0/frameworks'

/** What a warm sandbox is made for: nothing of it can be changed afterwards. */
export interface WarmKind {
  driver: FrameworkDriver
  /** Digest of the template. */
  template: string
  resources: Required<Resources>
  /** What its agent was started with. */
  spec: LaunchSpec
  /** The one project that may have it, where `spec` says something of a project's; null: any. */
  projectId: string | null
  /** A project that has the template, for its image to be found; nothing of what the spare is. */
  imageOf: string
}

export interface KindRequest extends Pick<WarmKind, 'driver' | 'template' | 'resources'> {
  /** What the run's agent is started with or bound to. */
  launch: LaunchSpec
  ref: Pick<SessionRef, 'projectId'>
}

/** The kind of spare that a run is served best by. */
export function kindOf({ driver, template, resources, launch, ref }: KindRequest): WarmKind {
  const spec = driver.spareFor?.(launch) ?? {}
  return { driver, template, resources, spec, projectId: isCommon(spec) ? null : ref.projectId, imageOf: ref.projectId }
}

/** The same sandbox with the agent that any run can have: where only that is there, the run starts an agent of its own in it. */
export const commonKind = (kind: WarmKind): WarmKind => ({ ...kind, spec: {}, projectId: null })

export const isCommon = (spec: LaunchSpec): boolean => Object.keys(spec).length === 0

export function sameKind(a: WarmKind, b: WarmKind): boolean {
  return isDeepStrictEqual(identity(a), identity(b))
}

function identity({ driver, template, resources, spec, projectId }: WarmKind) {
  return { framework: driver.name, template, resources, spec, projectId }
}
