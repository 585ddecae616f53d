import { execFile } from 'node:child_process'
import { readFile, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** What of an installation is on the host, by kind: names of its sandboxes' parts, and the processes that belong to its data folder. */
export interface OnHost {
  links: string[]
  slots: string[]
  cgroups: string[]
  containers: string[]
  tables: string[]
  loops: string[]
  mounts: string[]
  processes: string[]
}

export async function onHost(dataDir: string): Promise<OnHost> {
  const installation = (await readFile(join(dataDir, 'installation'), 'utf8')).trim()
  const [links, tables, loops] = await Promise.all([
    exec('ip', ['-j', 'link']).then(({ stdout }) =>
      (JSON.parse(stdout) as { ifname: string }[]).map((link) => link.ifname),
    ),
    exec('nft', ['list', 'tables']).then(({ stdout }) => stdout.split('\n')),
    exec('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE']).then(({ stdout }) => stdout.split('\n')),
  ])
  const { mounts, processes } = await inProcesses(dataDir, installation)
  return {
    links: links.filter((name) => new RegExp(`^[vgh]${installation}`).test(name)),
    tables: tables.filter((line) => line.endsWith(`vm0_${installation}`)),
    loops: loops.filter((line) => line.includes(dataDir)),
    slots: await slotsOf(installation),
    cgroups: await cgroupsOf(installation),
    containers: await readdir(`/run/vm0/${installation}/crun`).catch(() => []),
    mounts,
    processes,
  }
}

async function slotsOf(installation: string): Promise<string[]> {
  const folder = '/run/vm0/slots'
  const names = await readdir(folder).catch(() => [])
  const owners = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8').catch(() => '')))
  // A slot without an owner would be nobody's for ever.
  return names.filter((_, n) => owners[n] === installation || owners[n] === '')
}

async function cgroupsOf(installation: string): Promise<string[]> {
  const root = '/sys/fs/cgroup'
  const found = await Promise.all(
    ['.', ...(await readdir(root))].map((controller) =>
      readdir(join(root, controller, 'vm0', installation), { withFileTypes: true }).then(
        (entries) => entries.filter((entry) => entry.isDirectory()).map(({ name }) => name),
        () => [],
      ),
    ),
  )
  return [...new Set(found.flat())]
}

/** Of every mount namespace on the host, and every process whose command line or environment names the installation. */
async function inProcesses(dataDir: string, installation: string): Promise<{ mounts: string[]; processes: string[] }> {
  const mounts = new Set<string>()
  const processes: string[] = []
  const seen = new Set<string>()
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const [command, environment, namespace] = await Promise.all([
        readFile(`/proc/${pid}/cmdline`, 'utf8'),
        readFile(`/proc/${pid}/environ`, 'utf8'),
        readlink(`/proc/${pid}/ns/mnt`),
      ])
      const names = [`${dataDir}/`, `"${dataDir}"`, `/run/vm0/${installation}/`]
      if (names.some((name) => command.includes(name)) || environment.includes(`VM0_INSTALLATION=${installation}`))
        processes.push(`${pid} ${command.replaceAll('\0', ' ').slice(0, 200)}`)
      if (seen.has(namespace)) continue
      seen.add(namespace)
      for (const line of (await readFile(`/proc/${pid}/mountinfo`, 'utf8')).split('\n')) {
        const place = line.split(' ')[4] ?? ''
        if (place.startsWith(`/run/vm0/${installation}/`) || place.startsWith(`${dataDir}/`)) mounts.add(place)
      }
    } catch {
      /* it has ended meanwhile */
    }
  }
  return { mounts: [...mounts], processes }
}

/** The same of a test platform by its own folder, one line each; empty when it has left nothing. */
export async function leftovers(directory: string): Promise<string[]> {
  const found = await onHost(join(directory, 'data'))
  return Object.entries(found).flatMap(([kind, names]) => (names as string[]).map((name) => `${kind}: ${name}`))
}
