import { existsSync } from 'node:fs'
import { readFile, readdir, rm, rmdir, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

export interface CgroupStats {
  memoryBytes: number
  memoryPeakBytes: number
  oomKills: number
  processes: number
  cpuMs: number
}

/** What VM0 asks of a control group, the same on both versions. */
export interface Cgroup {
  freeze(): Promise<void>
  thaw(): Promise<void>
  stats(): Promise<CgroupStats>
}

const root = '/sys/fs/cgroup'
/** statfs(2): f_type of the two versions. */
const cgroup1Magic = 0x27e0eb
const cgroup2Magic = 0x63677270
export const isCgroup2 = (): boolean => existsSync(join(root, 'cgroup.controllers'))

/** `path` as in the OCI configuration, from the root of the hierarchies: `/vm0/a/b`. */
export function cgroupAt(path: string): Cgroup {
  return isCgroup2() ? new CgroupV2(join(root, path)) : new CgroupV1(path)
}

class CgroupV1 implements Cgroup {
  constructor(private readonly path: string) {}
  private file(controller: string, name: string): string {
    return join(root, controller, this.path, name)
  }

  async freeze(): Promise<void> {
    await writeFile(this.file('freezer', 'freezer.state'), 'FROZEN')
    await until(async () => {
      const state = (await readFile(this.file('freezer', 'freezer.state'), 'utf8')).trim()
      // A task in uninterruptible sleep keeps the group FREEZING; writing again retries it.
      if (state !== 'FROZEN') await writeFile(this.file('freezer', 'freezer.state'), 'FROZEN')
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
      field(this.file('memory', 'memory.oom_control'), 'oom_kill'),
      numberIn(this.file('pids', 'pids.current')),
      numberIn(this.file('cpuacct', 'cpuacct.usage')),
    ])
    return { memoryBytes: usage, memoryPeakBytes: peak, oomKills: oom, processes: pids, cpuMs: cpu / 1e6 }
  }
}

class CgroupV2 implements Cgroup {
  constructor(private readonly directory: string) {}

  async freeze(): Promise<void> {
    await writeFile(join(this.directory, 'cgroup.freeze'), '1')
    await until(async () => (await field(join(this.directory, 'cgroup.events'), 'frozen')) === 1, 'frozen')
  }

  thaw(): Promise<void> {
    return writeFile(join(this.directory, 'cgroup.freeze'), '0')
  }

  async stats(): Promise<CgroupStats> {
    const file = (name: string): string => join(this.directory, name)
    const [current, peak, oom, pids, cpu] = await Promise.all([
      numberIn(file('memory.current')),
      numberIn(file('memory.peak')), // from Linux 5.19
      field(file('memory.events'), 'oom_kill'),
      numberIn(file('pids.current')),
      field(file('cpu.stat'), 'usage_usec'),
    ])
    return {
      memoryBytes: current,
      memoryPeakBytes: Math.max(peak, current),
      oomKills: oom,
      processes: pids,
      cpuMs: cpu / 1e3,
    }
  }
}

/** Ends what runs in the groups under `path` and removes them. Groups that don't exist are fine. */
export async function removeCgroups(path: string): Promise<void> {
  const roots = isCgroup2()
    ? [root]
    : (await readdir(root, { withFileTypes: true }))
        .filter((entry) => entry.isDirectory())
        .map((entry) => join(root, entry.name))
  await Promise.all(
    roots.map(async (each) => {
      // Where a controller's file system isn't mounted, crun leaves plain folders behind.
      const { type } = await statfs(each)
      if (type === cgroup1Magic || type === cgroup2Magic) await removeTree(join(each, path))
      else await rm(join(each, path), { recursive: true, force: true })
    }),
  )
}

async function removeTree(directory: string): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => undefined)
  if (!entries) return
  await writeFile(join(directory, 'freezer.state'), 'THAWED').catch(() => undefined)
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(directory, entry.name))
  await until(async () => {
    const pids = (await readFile(join(directory, 'cgroup.procs'), 'utf8').catch(() => '')).split('\n').filter(Boolean)
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL')
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

/** The kernel tells of these changes in no way that can be awaited on both versions: asked for again, with a bound. */
async function until(done: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 5_000
  for (let pauseMs = 0; !(await done()); pauseMs = Math.min(pauseMs + 1, 20)) {
    if (performance.now() > deadline) throw new Error(`the control group was not ${what} within 5 s`)
    await wait(pauseMs)
  }
}

async function numberIn(path: string): Promise<number> {
  return Number(await readFile(path, 'utf8').catch(() => '0'))
}

async function field(path: string, name: string): Promise<number> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1] ?? 0)
}
