import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rm, rmdir, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Cgroup, Cgroups, CgroupStats, HoldFile, Meter } from './cgroup.js'
import { fieldIn, foldersIn, numberIn, processesIn, until } from './control-files.js'
import { MeterV1 } from './meter-v1.js'
import { writeUntilRefused } from './reclaim.js'

/** statfs(2): f_type of a mounted hierarchy; the second is the one without controllers of a hybrid layout. */
const hierarchyTypes = [0x27e0eb, 0x63677270]

/** Version 1: a hierarchy per controller, each with the same path in it. */
export class CgroupsV1 implements Cgroups {
  constructor(private readonly root: string) {}

  async prepare(path: string): Promise<void> {
    for (const { directory, mounted } of await this.hierarchies())
      if (mounted) await mkdir(join(directory, path), { recursive: true })
  }

  limitsSwap(path: string): boolean {
    return existsSync(join(this.root, 'memory', path, 'memory.memsw.limit_in_bytes'))
  }

  /** This process is moved to where it is. */
  async expectMove(): Promise<void> {
    const own = /^\d+:pids:(.*)$/m.exec(await readFile('/proc/self/cgroup', 'utf8').catch(() => ''))?.[1]
    if (own !== undefined)
      await writeFile(join(this.root, 'pids', own, 'cgroup.procs'), String(process.pid)).catch(() => undefined)
  }

  at(path: string): Cgroup {
    return new CgroupV1((controller, name) => join(this.root, controller, path, name))
  }

  async children(path: string): Promise<string[]> {
    const all = (await this.hierarchies()).map(({ directory }) => foldersIn(join(directory, path)))
    return [...new Set((await Promise.all(all)).flat())]
  }

  async remove(path: string): Promise<void> {
    await Promise.all(
      (await this.hierarchies()).map(({ directory, mounted }) =>
        // Where a controller's file system isn't mounted, crun leaves plain folders behind.
        mounted ? removeTree(join(directory, path)) : rm(join(directory, path), { recursive: true, force: true }),
      ),
    )
  }

  async removeIfEmpty(path: string): Promise<void> {
    for (const { directory } of await this.hierarchies()) await rmdir(join(directory, path)).catch(() => undefined)
  }

  private async hierarchies(): Promise<{ directory: string; mounted: boolean }[]> {
    const entries = await readdir(this.root, { withFileTypes: true })
    return Promise.all(
      entries
        .filter((entry) => entry.isDirectory())
        .map(async ({ name }) => {
          const directory = join(this.root, name)
          return { directory, mounted: hierarchyTypes.includes((await statfs(directory)).type) }
        }),
    )
  }
}

class CgroupV1 implements Cgroup {
  constructor(private readonly file: (controller: string, name: string) => string) {}

  get members(): string {
    return dirname(this.file('pids', 'cgroup.procs'))
  }

  get cpu() {
    return { idle: this.file('cpu', 'cpu.idle'), share: this.file('cpu', 'cpu.shares'), small: '64' }
  }

  async freeze(): Promise<void> {
    const file = this.file('freezer', 'freezer.state')
    await writeFile(file, 'FROZEN')
    await until(async () => {
      const state = (await readFile(file, 'utf8')).trim()
      // A task in uninterruptible sleep keeps the group FREEZING; writing again retries it.
      if (state !== 'FROZEN') await writeFile(file, 'FROZEN')
      return state === 'FROZEN'
    }, 'frozen')
  }

  thaw(): Promise<void> {
    return writeFile(this.file('freezer', 'freezer.state'), 'THAWED')
  }

  async stats(): Promise<CgroupStats> {
    const [usage, peak, oom, pids, cpu] = await Promise.all([
      numberIn(this.file('memory', 'memory.usage_in_bytes')),
      numberIn(this.file('memory', 'memory.max_usage_in_bytes')),
      fieldIn(this.file('memory', 'memory.oom_control'), 'oom_kill'),
      numberIn(this.file('pids', 'pids.current')),
      numberIn(this.file('cpuacct', 'cpuacct.usage')),
    ])
    return { memoryBytes: usage, memoryPeakBytes: peak, oomKills: oom, processes: pids, cpuMs: cpu / 1e6 }
  }

  meter(): Meter {
    return new MeterV1(this.file)
  }

  hold(): Promise<void> {
    return writeFile(this.holdFile.path, '1')
  }

  get holdFile(): HoldFile {
    return { path: this.file('memory', 'memory.oom_control'), released: '0' }
  }

  async limitMemory(bytes: number): Promise<void> {
    // Neither may pass the other.
    const both = ['memory.memsw.limit_in_bytes', 'memory.limit_in_bytes'].map((name) => this.file('memory', name))
    const grows = bytes > (await numberIn(both[1] as string))
    for (const file of grows ? both : both.toReversed()) if (existsSync(file)) await writeFile(file, String(bytes))
  }

  /**
   * A limit below what is in use makes the kernel reclaim until that fits or nothing more can be had. Nothing fits into none: a
   * group with a process in it has kernel memory too. So it is refused in the end, and the limit never was another one.
   * (`memory.force_empty` is for groups without processes.)
   */
  async reclaim(signal: AbortSignal): Promise<void> {
    const file = this.file('memory', 'memory.limit_in_bytes')
    const limit = await readFile(file, 'utf8')
    // Where the kernel doesn't count its own memory, the group may have come to use none.
    if (await writeUntilRefused(file, '0', 1, signal)) await writeFile(file, limit.trim())
  }
}

async function removeTree(directory: string): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => undefined)
  if (!entries) return
  await writeFile(join(directory, 'freezer.state'), 'THAWED').catch(() => undefined)
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(directory, entry.name))
  await until(async () => {
    for (const pid of await processesIn(join(directory, 'cgroup.procs'))) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        /* it has ended already */
      }
    }
    return rmdir(directory).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
    )
  }, 'removed').catch(() => undefined)
}
