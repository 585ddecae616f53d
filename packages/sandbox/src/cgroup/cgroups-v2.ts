import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import type { Cgroup, Cgroups, CgroupStats, HoldFile, Meter } from './cgroup.js'
import { fieldIn, foldersIn, numberIn, processesIn, until } from './control-files.js'
import { MeterV2 } from './meter-v2.js'
import { writeUntilRefused } from './reclaim.js'

const neededControllers = ['cpu', 'memory', 'pids']

/**
 * A task that passes `high` is slowed so much that it stands still, which is the hold of this version; `max`, where the kernel
 * kills, lies a little above it, since what is asked for in the middle of a system call may pass `high`.
 */
export const heldBelow = (limitBytes: number): number =>
  limitBytes - Math.max(8 * 1024 ** 2, Math.min(256 * 1024 ** 2, Math.floor(limitBytes / 32)))

/** What is taken back at once: a write that is at it ends only after that much. */
const reclaimStepBytes = 16 * 1024 ** 2

/** Version 2: one hierarchy, in which a group has the controllers that every group above it hands down. */
export class CgroupsV2 implements Cgroups {
  constructor(private readonly root: string) {}

  async prepare(path: string): Promise<void> {
    const available = await readFile(join(this.root, 'cgroup.controllers'), 'utf8')
    const missing = neededControllers.filter((name) => !available.trim().split(' ').includes(name))
    if (missing.length > 0) throw unusable(`${this.root}/cgroup.controllers lacks ${missing.join(', ')}`)
    try {
      await mkdir(join(this.root, path), { recursive: true })
      await this.handDownFromRoot()
      let directory = this.root
      for (const name of path.split('/').filter(Boolean)) {
        directory = join(directory, name)
        await handDown(directory)
      }
    } catch (cause) {
      throw unusable(`${join(this.root, path)} could not be set up: ${(cause as Error).message}`, cause)
    }
  }

  limitsSwap(path: string): boolean {
    return existsSync(join(this.root, path, 'memory.swap.max'))
  }

  /** crun's first process is born in its group. */
  async expectMove(): Promise<void> {}

  at(path: string): Cgroup {
    return new CgroupV2(join(this.root, path))
  }

  children(path: string): Promise<string[]> {
    return foldersIn(join(this.root, path))
  }

  async remove(path: string): Promise<void> {
    const directory = join(this.root, path)
    // One write ends all of them, frozen or not, whatever they fork meanwhile.
    await writeFile(join(directory, 'cgroup.kill'), '1').catch(() => undefined)
    await until(() => removeTree(directory), 'removed').catch(() => undefined)
  }

  async removeIfEmpty(path: string): Promise<void> {
    await rmdir(join(this.root, path)).catch(() => undefined)
  }

  /**
   * The root of a container's cgroup namespace holds the container's processes, and a group with processes can't hand
   * controllers down: they move to a group beside ours, `init`, as in Docker's own image for nested containers.
   */
  private async handDownFromRoot(): Promise<void> {
    const refuge = join(this.root, 'init')
    for (let attempt = 1; ; attempt++) {
      try {
        return await handDown(this.root)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || attempt > 20) throw error
      }
      await mkdir(refuge, { recursive: true })
      for (const pid of await processesIn(join(this.root, 'cgroup.procs')))
        await writeFile(join(refuge, 'cgroup.procs'), String(pid)).catch(() => undefined) // it may have ended
    }
  }
}

class CgroupV2 implements Cgroup {
  constructor(private readonly directory: string) {}

  get members(): string {
    return this.directory
  }

  get cpu() {
    // What crun makes of 1024 shares is 39 or 100, by its version.
    return { idle: join(this.directory, 'cpu.idle'), share: join(this.directory, 'cpu.weight'), small: '4' }
  }

  async freeze(): Promise<void> {
    await writeFile(join(this.directory, 'cgroup.freeze'), '1')
    await until(async () => (await fieldIn(join(this.directory, 'cgroup.events'), 'frozen')) === 1, 'frozen')
  }

  thaw(): Promise<void> {
    return writeFile(join(this.directory, 'cgroup.freeze'), '0')
  }

  async stats(): Promise<CgroupStats> {
    const file = (name: string): string => join(this.directory, name)
    const [current, peak, oom, pids, cpu] = await Promise.all([
      numberIn(file('memory.current')),
      numberIn(file('memory.peak')),
      fieldIn(file('memory.events'), 'oom_kill'),
      numberIn(file('pids.current')),
      fieldIn(file('cpu.stat'), 'usage_usec'),
    ])
    return {
      memoryBytes: current,
      memoryPeakBytes: Math.max(peak, current),
      oomKills: oom,
      processes: pids,
      cpuMs: cpu / 1e3,
    }
  }

  meter(): Meter {
    return new MeterV2(this.directory)
  }

  /** What may swap would do that instead of being held: a reclaim that this process did not see the end of has left it so. */
  async hold(): Promise<void> {
    const swap = join(this.directory, 'memory.swap.max')
    if (existsSync(swap)) await writeFile(swap, '0')
    const limit = await numberIn(join(this.directory, 'memory.max'))
    await writeFile(this.holdFile.path, String(heldBelow(limit)))
  }

  get holdFile(): HoldFile {
    return { path: join(this.directory, 'memory.high'), released: 'max' }
  }

  async limitMemory(bytes: number): Promise<void> {
    await writeFile(join(this.directory, 'memory.max'), String(bytes))
    await writeFile(this.holdFile.path, String(heldBelow(bytes)))
  }

  /** A group that runs may not swap, so that its limit is what it says: that is lifted for as long as this takes. */
  async reclaim(signal: AbortSignal): Promise<void> {
    const swap = join(this.directory, 'memory.swap.max')
    const limit = await readFile(swap, 'utf8').catch(() => undefined)
    const steps = Math.ceil((await numberIn(join(this.directory, 'memory.current'))) / reclaimStepBytes)
    if (limit !== undefined) await writeFile(swap, 'max')
    try {
      await writeUntilRefused(join(this.directory, 'memory.reclaim'), String(reclaimStepBytes), steps, signal)
    } finally {
      if (limit !== undefined) await writeFile(swap, limit.trim())
    }
  }
}

function handDown(directory: string): Promise<void> {
  return writeFile(join(directory, 'cgroup.subtree_control'), neededControllers.map((name) => `+${name}`).join(' '))
}

/** True once the group is gone; the ended processes leave it a moment after they were killed. */
async function removeTree(directory: string): Promise<boolean> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(directory, entry.name))
  return rmdir(directory).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  )
}

function unusable(what: string, cause?: unknown): Vm0Error {
  return new Vm0Error('RUNTIME_MISSING', `Control groups (v2) can't be used: ${what}.`, {
    hint: `Expected a writable /sys/fs/cgroup with the controllers ${neededControllers.join(', ')}: run VM0 as root on the host, or in a privileged container.`,
    retryable: false,
    cause,
  })
}
