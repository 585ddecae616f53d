import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { CgroupsV1 } from './cgroups-v1.js'
import { CgroupsV2 } from './cgroups-v2.js'

export interface CgroupStats {
  memoryBytes: number
  memoryPeakBytes: number
  oomKills: number
  processes: number
  cpuMs: number
}

export interface Cgroup {
  freeze(): Promise<void>
  thaw(): Promise<void>
  stats(): Promise<CgroupStats>
}

/** What VM0 asks of control groups, the same on both versions. Paths are as in the OCI configuration: `/vm0/a/b`. */
export interface Cgroups {
  /** Makes a group whose sub-groups can have limits. Fails with RUNTIME_MISSING where the host doesn't allow that. */
  prepare(path: string): Promise<void>
  /** Whether sub-groups of a prepared group can have a limit on swap. */
  limitsSwap(path: string): boolean
  at(path: string): Cgroup
  /** Names of the groups in a group. */
  children(path: string): Promise<string[]>
  /** Ends what runs in a group and below it and removes it. A group that doesn't exist is fine. */
  remove(path: string): Promise<void>
  removeIfEmpty(path: string): Promise<void>
}

const root = '/sys/fs/cgroup'
export const isCgroup2 = (): boolean => existsSync(join(root, 'cgroup.controllers'))

export function openCgroups(): Cgroups {
  return isCgroup2() ? new CgroupsV2(root) : new CgroupsV1(root)
}
