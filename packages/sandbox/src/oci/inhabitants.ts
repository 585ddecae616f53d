import { readFile } from 'node:fs/promises'
import { foldersIn, processesIn } from '../cgroup/control-files.js'
import { join } from 'node:path'
import type { SandboxProcess } from '../engine.js'

/** What is read of a command line: whoever runs it may make it as long as memory allows. */
const commandLength = 300

interface Seen extends SandboxProcess {
  hostPid: number
  parent: number
}

/** All that runs in a control group and below it, but for its first process, those of `own`, and what descends from these. */
export async function inhabitants(
  directory: string,
  own: ReadonlySet<number>,
  first: number,
): Promise<SandboxProcess[]> {
  const seen = new Map<number, Seen>()
  for (const each of await Promise.all((await pidsIn(directory)).map(look))) if (each) seen.set(each.hostPid, each)
  const isOwn = (process: Seen | undefined): boolean => {
    for (let each = process, steps = 0; each && steps < seen.size; each = seen.get(each.parent), steps++)
      if (own.has(each.hostPid)) return true
    return false
  }
  return [...seen.values()]
    .filter((each) => each.hostPid !== first && !isOwn(each))
    .toSorted((a, b) => a.pid - b.pid)
    .map(({ pid, command }) => ({ pid, command }))
}

async function pidsIn(directory: string): Promise<number[]> {
  const below = (await foldersIn(directory)).map((name) => pidsIn(join(directory, name)))
  return [await processesIn(join(directory, 'cgroup.procs')), ...(await Promise.all(below))].flat()
}

/** Undefined of one that has ended, also when nobody has waited for it yet. */
async function look(hostPid: number): Promise<Seen | undefined> {
  const [status, line] = await Promise.all([
    readFile(`/proc/${hostPid}/status`, 'utf8').catch(() => ''),
    readFile(`/proc/${hostPid}/cmdline`, 'latin1').catch(() => ''),
  ])
  const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? ''
  if (!status || /^[ZX]/.test(field('State'))) return undefined
  const words = Buffer.from(line.slice(0, commandLength * 4), 'latin1')
    .toString('utf8')
    .split('\0')
  const command = words.join(' ').trim().slice(0, commandLength) || field('Name')
  return { hostPid, parent: Number(field('PPid')), pid: Number(field('NSpid').split(/\s+/).at(-1)), command }
}
