import { readFile, readdir, readlink } from 'node:fs/promises'

const tickMs = 10

/** Milliseconds of CPU that the processes of a platform have used: its own one, its monitors and helpers. Not what is in sandboxes. */
export async function cpuOfPlatform(dataDir: string): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
  const each = await Promise.all(pids.map((pid) => cpuOf(`/proc/${pid}`, dataDir).catch(() => 0)))
  return each.reduce((sum, ms) => sum + ms, 0)
}

async function cpuOf(process: string, dataDir: string): Promise<number> {
  const status = await readFile(`${process}/status`, 'utf8')
  if (!/^Uid:\t0\t/m.test(status)) return 0
  const [command, cwd] = await Promise.all([readFile(`${process}/cmdline`, 'utf8'), readlink(`${process}/cwd`)])
  if (!command.includes(dataDir) && !cwd.startsWith(dataDir)) return 0
  return cpuIn(await readFile(`${process}/stat`, 'utf8'))
}

/** Milliseconds of CPU that a process has used; not of its children. */
export async function cpuOfProcess(pid: number): Promise<number> {
  return cpuIn(await readFile(`/proc/${pid}/stat`, 'utf8'))
}

/** Of /proc/PID/stat. */
function cpuIn(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickMs
}
