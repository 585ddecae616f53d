import { readFile, readdir } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'

/** The number in a control file; 0 where the kernel has no such file or the group is gone. */
export async function numberIn(path: string): Promise<number> {
  return Number(await readFile(path, 'utf8').catch(() => '0'))
}

/** The number behind `name` in a flat keyed control file, such as `oom_kill 3`; 0 where there is none. */
export async function fieldIn(path: string, name: string): Promise<number> {
  return field(await readFile(path, 'utf8').catch(() => ''), name)
}

export function field(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}

/** CPUs that a quota of CPU time in each period makes: without one (`-1`, `max`, no file) any number. */
export function cpusOf(quotaUs: number, periodUs: number): number {
  return quotaUs > 0 && periodUs > 0 ? quotaUs / periodUs : Infinity
}

/** The process ids in a group's `cgroup.procs`; none where the group is gone. */
export async function processesIn(path: string): Promise<number[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.split('\n').filter(Boolean).map(Number)
}

export async function foldersIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}

/** The kernel tells of these changes in no way that can be awaited on both versions: asked for again, with a bound. */
export async function until(done: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 5_000
  for (let pauseMs = 0; !(await done()); pauseMs = Math.min(pauseMs + 1, 20)) {
    if (performance.now() > deadline) throw new Error(`the control group was not ${what} within 5 s`)
    await wait(pauseMs)
  }
}
