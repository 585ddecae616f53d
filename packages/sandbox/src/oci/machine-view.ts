import { existsSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import type { Resources } from '@vm0/contract'
import { isCgroup2 } from '../cgroup/cgroup.js'

/** CPUs and memory as the programs in a sandbox count them. See docs/decisions/0002-machine-view.md. */
export interface MachineView {
  /** The CPUs that its processes run on, as the kernel writes lists (`0,3`); undefined means all that this process may use. */
  cpus: string | undefined
  /** Files to bind over the kernel's own, which tell of the host. */
  files: { source: string; target: string }[]
}

/**
 * The whole CPUs of one sandbox. Neighbouring slots get neighbouring CPUs, so the sandboxes of a host are spread over all
 * of them without a count that processes would have to share.
 */
export function cpusOfSlot(slot: number, cpus: number, allowed: readonly number[]): number[] {
  const count = Math.min(Math.max(1, Math.ceil(cpus)), allowed.length)
  const first = (slot * count) % allowed.length
  return Array.from({ length: count }, (_, index) => allowed[(first + index) % allowed.length] as number).toSorted(
    (a, b) => a - b,
  )
}

/** `0-2,5` → 0, 1, 2, 5. */
export function parseCpuList(list: string): number[] {
  return list
    .trim()
    .split(',')
    .filter(Boolean)
    .flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, index) => first + index)
    })
}

/** The lines of /proc/meminfo that programs look for; what is in use is known to the control group only. */
export function memoryInfo(memoryBytes: number): string {
  const total = Math.floor(memoryBytes / 1024)
  const values: Record<string, number> = { MemTotal: total, MemFree: total, MemAvailable: total }
  const zero =
    'Buffers Cached SwapCached Active Inactive SwapTotal SwapFree Dirty Writeback AnonPages Mapped Shmem KReclaimable Slab SReclaimable SUnreclaim'
  for (const name of zero.split(' ')) values[name] = 0
  return Object.entries(values)
    .map(([name, kiB]) => `${`${name}:`.padEnd(16)}${String(kiB).padStart(8)} kB\n`)
    .join('')
}

/** The blocks of /proc/cpuinfo that belong to `cpus`. */
export function cpuInfo(hostText: string, cpus: readonly number[]): string {
  return hostText
    .split('\n\n')
    .filter((block) => cpus.includes(Number(/^processor\s*:\s*(\d+)/m.exec(block)?.[1] ?? -1)))
    .map((block) => `${block.trim()}\n\n`)
    .join('')
}

/** /proc/stat without the host's other CPUs, interrupts and counts: what is left says how many CPUs there are and when it booted. */
export function cpuStatistics(hostText: string, cpus: readonly number[]): string {
  const kept = hostText.split('\n').filter((line) => {
    const [name = ''] = line.split(' ')
    return name === 'btime' || (/^cpu\d+$/.test(name) && cpus.includes(Number(name.slice(3))))
  })
  return [
    'cpu 0 0 0 0 0 0 0 0 0 0',
    ...kept.map((line) => line.replace(/^(cpu\d+) .*/, '$1 0 0 0 0 0 0 0 0 0 0')),
    '',
  ].join('\n')
}

const online = '/sys/devices/system/cpu/online'

export async function makeMachineView(
  directory: string,
  slot: number,
  { cpus, memoryMiB }: Required<Pick<Resources, 'cpus' | 'memoryMiB'>>,
): Promise<MachineView> {
  const status = await readFile('/proc/self/status', 'utf8')
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '0')
  const own = cpusOfSlot(slot, cpus, allowed)
  const files: [string, string][] = [['/proc/meminfo', memoryInfo(Math.min(memoryMiB * 1024 ** 2, totalmem()))]]
  if (own.length < parseCpuList(await readFile(online, 'utf8')).length)
    files.push(
      [online, `${own.join(',')}\n`],
      ['/proc/cpuinfo', cpuInfo(await readFile('/proc/cpuinfo', 'utf8'), own)],
      ['/proc/stat', cpuStatistics(await readFile('/proc/stat', 'utf8'), own)],
    )
  return {
    cpus: own.length < allowed.length ? own.join(',') : undefined,
    files: await Promise.all(
      files.map(async ([target, text]) => {
        const source = join(directory, target.replaceAll('/', '_'))
        await writeFile(source, text, { mode: 0o444 })
        return { source, target }
      }),
    ),
  }
}

/** Whether control groups can hold processes to CPUs here; where not, their affinity is set, which a process may widen again. */
export function hasCpuset(): boolean {
  return isCgroup2()
    ? readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').split(/\s+/).includes('cpuset')
    : existsSync('/sys/fs/cgroup/cpuset/cpuset.cpus')
}
