import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import type { HostProcess } from '@vm0/process'

/** A process id may be given to another process later; with its start time it is not mistaken. */
export interface ProcessIdentity {
  pid: number
  startedAt: string
}

export async function identify(pid: number): Promise<ProcessIdentity> {
  return { pid, startedAt: processStatus(pid).startedAt }
}

/** Whether that process is still there and not a zombie. */
export async function isSameProcess({ pid, startedAt }: ProcessIdentity): Promise<boolean> {
  const now = processStatus(pid)
  return now.startedAt === startedAt && startedAt !== '' && !'ZX'.includes(now.state)
}

/**
 * Waits until a container's first process is the program that it was made for. crun returns a moment before that, and while
 * it still is crun's own, with crun's rights to be looked into, nobody can join its namespaces: setns(2) says EPERM.
 */
export async function hasBecome(pid: number, program: string): Promise<void> {
  for (;;) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    // A process that is gone has none: whoever uses it next finds that out.
    if (line === '' || line.startsWith(`${program}\0`)) return
    await wait(1)
  }
}

/** Synchronous: the kernel answers from memory, and four trips to a thread would take a hundred times as long. */
function processStatus(pid: number): { state: string; group: number; startedAt: string } {
  let stat = ''
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    /* it has ended */
  }
  // After the name in brackets, which may hold anything: proc(5) counts from the process id, so that the state is field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0] || 'X', group: Number(fields[2] ?? 0), startedAt: fields[19] ?? '' }
}

/**
 * Signals a process that crun started in a sandbox and what shares its process group: the rest of a pipeline, a shell's
 * children. Its id comes from a file and may belong to another process by now, so it must still be in the sandbox's
 * control group.
 */
export async function killInside(
  pidFile: string,
  cgroupsPath: string,
  signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL',
): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'))
  if (!(pid > 1)) return
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '')
  const { group } = processStatus(pid)
  if (!groups.split('\n').some((line) => `${line.slice(line.indexOf('/'))}/`.startsWith(`${cgroupsPath}/`))) return
  try {
    process.kill(group > 1 ? -group : pid, signal)
  } catch {
    /* it has ended already */
  }
}

/** Ends a program that was started detached, with what shares its process group. */
export function killGroupOf(child: Pick<HostProcess, 'pid' | 'exitCode' | 'signalCode'>): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    /* it has ended already */
  }
}
