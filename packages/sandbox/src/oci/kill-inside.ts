import { readFile } from 'node:fs/promises'

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
  const [groups, stat] = await Promise.all(
    ['cgroup', 'stat'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '')),
  )
  if (!groups?.split('\n').some((line) => `${line.slice(line.indexOf('/'))}/`.startsWith(`${cgroupsPath}/`))) return
  // After the name in brackets, which may hold anything: state, parent, group.
  const group = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[2])
  try {
    process.kill(group > 1 ? -group : pid, signal)
  } catch {
    /* it has ended already */
  }
}
