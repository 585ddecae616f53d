import type { ReleaseStore } from '@vm0/frameworks'

/** Where a release is inside every sandbox. */
export function releaseTarget(framework: string, version: string): string {
  return `/opt/vm0/agents/${framework}/${version}`
}

/** Every installed release of every framework, read-only: which one a session uses is decided at the agent's start. */
export async function platformMounts(releases: ReleaseStore): Promise<{ source: string; target: string }[]> {
  const installed = await releases.all()
  return installed.map(({ framework, version, directory }) => ({
    source: directory,
    target: releaseTarget(framework, version),
  }))
}
