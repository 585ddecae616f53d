import { execFile } from 'node:child_process'
import { access, constants, readFile, readdir, statfs } from 'node:fs/promises'
import { arch, release } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { drivers, openReleaseStore } from '@vm0/frameworks'
import { findTemplate, isCgroup2 } from '@vm0/sandbox'
import { cacheDir } from '../paths.js'

/** What the platform runs, by the Debian package that has it. The runtime is asked for its version besides. */
export const neededPrograms: Readonly<Record<string, readonly string[]>> = {
  crun: ['crun'],
  'erofs-utils': ['mkfs.erofs'],
  e2fsprogs: ['mkfs.ext4'],
  iproute2: ['ip'],
  mmdebstrap: ['mmdebstrap'],
  nftables: ['nft'],
  npm: ['npm'],
  runit: ['svlogd'],
  tar: ['tar'],
  catatonit: ['catatonit'],
  'util-linux': ['flock', 'mount', 'setpriv', 'umount', 'unshare'],
}
export const neededFileSystems = ['overlay', 'erofs', 'ext4'] as const

export interface HostFacts {
  kernel: string
  arch: string
  uid: number
  cgroup: { version: 1 | 2; controllers: string[]; writable: boolean }
  /** First line of `crun --version`. */
  runtime: string | undefined
  missingPrograms: string[]
  /** Of those that are needed, neither in the kernel nor a module of it. */
  missingFileSystems: string[]
  hasLoopDevices: boolean
  /** Why namespaces can't be made; undefined when they can. */
  namespaces: string | undefined
  seccompActions: string[]
  disks: { use: 'data' | 'cache'; directory: string; freeBytes: number }[]
  template: string | undefined
  /** Installed versions, and those whose binary can't be started. */
  agents: { name: string; versions: string[]; broken: string[] }[]
  hasModelKey: boolean
  modelUrl: string
}

const exec = promisify(execFile)

/** Looks, changes nothing. */
export async function gatherHostFacts(dataDir: string): Promise<HostFacts> {
  const programs = Object.values(neededPrograms).flat()
  const [runtime, found, cgroup, fileSystems, loop, namespaces, seccomp, disks, template, agents] = await Promise.all([
    exec('crun', ['--version']).then(
      ({ stdout }) => stdout.split('\n')[0],
      () => undefined,
    ),
    Promise.all(programs.map(isOnPath)),
    cgroupFacts(),
    Promise.all(neededFileSystems.map(hasFileSystem)),
    exists('/dev/loop-control'),
    tryNamespaces(),
    readFile('/proc/sys/kernel/seccomp/actions_avail', 'utf8').catch(() => ''),
    Promise.all([freeSpace('data', dataDir), freeSpace('cache', cacheDir)]),
    findTemplate({ cacheDir }),
    agentFacts(),
  ])
  return {
    kernel: release(),
    arch: arch(),
    uid: process.getuid?.() ?? -1,
    cgroup,
    runtime,
    missingPrograms: programs.filter((_, index) => !found[index]),
    missingFileSystems: neededFileSystems.filter((_, index) => !fileSystems[index]),
    hasLoopDevices: loop,
    namespaces,
    seccompActions: seccomp.split(/\s+/).filter(Boolean),
    disks,
    template: template?.digest,
    agents,
    hasModelKey: Boolean(process.env.ANTHROPIC_API_KEY),
    modelUrl: process.env.ANTHROPIC_BASE_URL || 'https://api.anthropic.com',
  }
}

function exists(path: string, mode = constants.F_OK): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  )
}

async function isOnPath(program: string): Promise<boolean> {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const answers = await Promise.all(folders.map((folder) => exists(join(folder, program), constants.X_OK)))
  return answers.includes(true)
}

async function cgroupFacts(): Promise<HostFacts['cgroup']> {
  const root = '/sys/fs/cgroup'
  if (isCgroup2()) {
    const controllers = await readFile(join(root, 'cgroup.controllers'), 'utf8').catch(() => '')
    return {
      version: 2,
      controllers: controllers.split(/\s+/).filter(Boolean),
      writable: await exists(root, constants.W_OK),
    }
  }
  const controllers = await readdir(root).catch(() => [])
  return { version: 1, controllers, writable: await exists(join(root, 'memory'), constants.W_OK) }
}

/** One that isn't loaded yet is found among the modules: a mount loads it. */
async function hasFileSystem(name: string): Promise<boolean> {
  const inUse = await readFile('/proc/filesystems', 'utf8').catch(() => '')
  if (new RegExp(`\\b${name}$`, 'm').test(inUse)) return true
  const modules = await Promise.all(
    ['modules.dep', 'modules.builtin'].map((file) =>
      readFile(join('/lib/modules', release(), file), 'utf8').catch(() => ''),
    ),
  )
  return modules.some((text) => new RegExp(`/${name}\\.ko`).test(text))
}

async function tryNamespaces(): Promise<string | undefined> {
  try {
    await exec('unshare', ['--user', '--mount', '--net', '--ipc', '--uts', '--pid', '--fork', 'true'])
    return undefined
  } catch (thrown) {
    return String((thrown as { stderr?: string }).stderr || (thrown as Error).message).trim()
  }
}

/** Of the file system that the folder is on, or will be on. */
async function freeSpace(use: 'data' | 'cache', directory: string): Promise<HostFacts['disks'][number]> {
  for (let place = directory; ; place = dirname(place)) {
    const found = await statfs(place).catch(() => undefined)
    if (found) return { use, directory, freeBytes: found.bavail * found.bsize }
    if (place === dirname(place)) return { use, directory, freeBytes: 0 }
  }
}

async function agentFacts(): Promise<HostFacts['agents']> {
  const releases = openReleaseStore(join(cacheDir, 'agents'))
  return Promise.all(
    drivers.map(async (driver) => {
      const installed = await releases.list(driver.name)
      const starts = await Promise.all(
        installed.map(({ directory }) => {
          const launch = driver.launch({ releaseDir: directory, gatewayUrl: '', resume: null, spec: {} })
          return exists(launch.args[0] ?? '', constants.X_OK)
        }),
      )
      return {
        name: driver.name,
        versions: installed.map(({ version }) => version),
        broken: installed.filter((_, index) => !starts[index]).map(({ version }) => version),
      }
    }),
  )
}
