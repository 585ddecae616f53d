import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const root = '/sys/fs/cgroup'
/** Where each figure is, by version of the control groups: the folder, the file, and its unit in a million. */
const places = {
  memory: [join(root, 'memory/vm0'), 'memory.usage_in_bytes', 'memory.current'],
  cpu: [join(root, 'cpuacct/vm0'), 'cpuacct.usage', 'cpu.stat'],
} as const

/** The control groups of all sandboxes of one platform. */
async function groups(kind: keyof typeof places, dataDir: string): Promise<string[]> {
  const [v1] = places[kind]
  const installation = (await readFile(join(dataDir, 'installation'), 'utf8')).trim()
  for (const base of [v1, join(root, 'vm0')]) {
    const entries = await readdir(join(base, installation), { withFileTypes: true }).catch(() => [])
    const found = entries.filter((each) => each.isDirectory()).map(({ name }) => join(base, installation, name))
    if (found.length > 0) return found
  }
  return []
}

async function figure(group: string, kind: keyof typeof places): Promise<number> {
  const [, v1, v2] = places[kind]
  const text = await readFile(join(group, v1), 'utf8').catch(() => readFile(join(group, v2), 'utf8').catch(() => '0'))
  // On v2 the CPU time stands behind a name, in microseconds; on v1 it is nanoseconds.
  const named = /usage_usec (\d+)/.exec(text)
  return named ? Number(named[1]) * 1000 : Number(text)
}

/** Bytes that each sandbox of a platform is charged for. */
export async function memoryOfSandboxes(dataDir: string): Promise<number[]> {
  return Promise.all((await groups('memory', dataDir)).map((group) => figure(group, 'memory')))
}

/** CPU time that a platform's sandboxes have used since each was made, in milliseconds. */
export async function cpuUsedInSandboxes(dataDir: string): Promise<number> {
  const all = await Promise.all((await groups('cpu', dataDir)).map((group) => figure(group, 'cpu')))
  return all.reduce((sum, each) => sum + each, 0) / 1e6
}

/** CPU time that a platform's sandboxes use together over a while, in percent of one core. */
export async function cpuOfSandboxes(dataDir: string, overMs: number): Promise<number> {
  const [before, startedMs] = [await cpuUsedInSandboxes(dataDir), performance.now()]
  await wait(overMs)
  return (100 * ((await cpuUsedInSandboxes(dataDir)) - before)) / (performance.now() - startedMs)
}
