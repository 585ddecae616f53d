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

/** What is asked of a group many times a second. */
export interface Gauge {
  memoryBytes: number
  cpuMs: number
  /** Times that the kernel killed one of its tasks for want of memory. */
  oomKills: number
  /** It can't have what its tasks ask for: they are held there, where the hold is on. */
  atLimit: boolean
}

/** Share of the time in which tasks waited for something, in percent, over the last 10 seconds. */
export interface Pressure {
  some: number
  full: number
}

export interface Details {
  limitBytes: number
  peakBytes: number
  /** What the memory is used for; of `file`, the kernel gives back what nobody has changed. */
  anonBytes: number
  fileBytes: number
  shmemBytes: number
  kernelBytes: number
  processes: number
  processLimit: number
  /** Times that a new process was refused for the limit on their number. */
  forksRefused: number
  /** How long its tasks were kept from running because their CPU time was used up, in total. */
  throttledMs: number
  /** Periods in which it may use so much CPU time and no more, and those in which it had used it up. */
  periods: number
  throttledPeriods: number
  /** How many CPUs' time it may use in a period; Infinity where it has no limit. */
  cpus: number
  /** Null where the kernel doesn't tell it of a group (version 1). */
  pressure: { memory: Pressure; cpu: Pressure; io: Pressure } | null
}

/**
 * Reads a group's counters. Synchronous: the kernel answers from memory within microseconds, and a thread's round trip would
 * cost ten times as much. All read zero once the group is gone.
 */
export interface Meter {
  gauge(): Gauge
  details(): Details
  processIds(): number[]
  close(): void
}

/** The control file that holds a group, and what written to it lets go of it: for whoever outlives this process. */
export interface HoldFile {
  path: string
  released: string
}

export interface Cgroup {
  freeze(): Promise<void>
  thaw(): Promise<void>
  stats(): Promise<CgroupStats>
  meter(): Meter
  /** Tasks that would need more memory than there is wait from here on instead of being killed. */
  hold(): Promise<void>
  readonly holdFile: HoldFile
  /** Another limit on its memory; where it is held, it goes on with that. */
  limitMemory(bytes: number): Promise<void>
  /**
   * Has the kernel take back what memory of the group it finds a place for: page cache always, what is anonymous where the host
   * has swap. For a group that is frozen: one that runs takes it again. Limits stay as they are. Ends early once `signal` aborts.
   */
  reclaim(signal: AbortSignal): Promise<void>
  /**
   * Control files: whether it runs only where no other group wants to (since Linux 5.15), and its share of the CPU beside
   * other groups', with what takes a sixteenth of the usual one.
   */
  readonly cpu: { idle: string; share: string; small: string }
  /** The folder that tells the processes of the group and of those below it. */
  readonly members: string
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
  /**
   * A process is about to be moved into a group. The kernel waits for a grace period of RCU (ten milliseconds and more) before
   * it moves one, unless it has just moved another: what is called ahead takes that wait upon itself. Never fails.
   */
  expectMove(): Promise<void>
  /** Ends what runs in a group and below it and removes it. A group that doesn't exist is fine. */
  remove(path: string): Promise<void>
  removeIfEmpty(path: string): Promise<void>
}

const root = '/sys/fs/cgroup'
export const isCgroup2 = (): boolean => existsSync(join(root, 'cgroup.controllers'))

export function openCgroups(): Cgroups {
  return isCgroup2() ? new CgroupsV2(root) : new CgroupsV1(root)
}
