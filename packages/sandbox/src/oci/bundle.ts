import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { SandboxSpec } from '../engine.js'
import { trustedCertificates } from './certificates.js'
import { seccompFilter } from './seccomp.js'
import type { Slot } from './slots.js'

/** The first process of every sandbox. */
export const initInside = '/.vm0-init'

const capabilities = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'KILL',
  'SYS_CHROOT',
  'SETFCAP',
  'NET_BIND_SERVICE',
  'AUDIT_WRITE',
].map((name) => `CAP_${name}`)
const devices: [string, number, number?][] = [
  ['c', 1, 3],
  ['c', 1, 5],
  ['c', 1, 7],
  ['c', 1, 8],
  ['c', 1, 9],
  ['c', 5, 0],
  ['c', 5, 2],
  ['c', 136],
]
export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const seccomp = seccompFilter()
/** A limit above this process's own can't be set inside a user namespace. */
const openFiles = Math.min(
  1_048_576,
  Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 4096),
)

/**
 * What commands are started with: when memory is short, the kernel takes them before anything of the host, and before the
 * sandbox's first process, with which everything would end.
 */
export const commandOomScore = 500

/** The process block of OCI for something that runs as root inside. */
export function processBlock(args: readonly string[], env: Readonly<Record<string, string>>, cwd: string) {
  const { bounding, effective, permitted } = {
    bounding: capabilities,
    effective: capabilities,
    permitted: capabilities,
  }
  return {
    terminal: false,
    user: { uid: 0, gid: 0 },
    cwd,
    args,
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    capabilities: { bounding, effective, permitted, inheritable: [], ambient: [] },
    rlimits: [
      { type: 'RLIMIT_NOFILE', soft: openFiles, hard: openFiles },
      { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
    ],
    noNewPrivileges: true,
  }
}

/** Memory file systems count as the sandbox's memory: they leave room for a process that can clear them. */
const shmMiB = (memoryMiB: number): number => Math.min(256, Math.floor(memoryMiB / 4))
const runMiB = (memoryMiB: number): number => Math.min(64, Math.floor(memoryMiB / 8))

export interface BundleFiles {
  root: string
  resolvConf: string
  init: string
  cgroupsPath: string
  swapAccounting: boolean
  /** Binds over what /proc and /sys say of the host. */
  machineFiles: readonly { source: string; target: string }[]
  /** CPUs that its control group holds it to. */
  cpuset: string | undefined
}

/** The OCI configuration of a sandbox; its network namespace gets its link once it runs. */
export function ociConfig(spec: SandboxSpec, slot: Slot, files: BundleFiles, env: Readonly<Record<string, string>>) {
  const { memoryMiB, cpus, processes } = spec.resources
  const memory = memoryMiB * 1024 ** 2
  const bind = (source: string, destination: string) => ({
    destination,
    type: 'bind',
    source,
    options: ['bind', 'ro', 'nosuid', 'nodev'],
  })
  return {
    ociVersion: '1.0.2',
    process: processBlock([initInside, '-P'], env, '/'),
    root: { path: files.root, readonly: false },
    hostname: 'vm0',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=1024k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmMiB(memoryMiB)}m`],
      },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      {
        destination: '/sys/fs/cgroup',
        type: 'cgroup',
        source: 'cgroup',
        options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
      },
      {
        destination: '/run',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'nodev', 'mode=755', `size=${runMiB(memoryMiB)}m`],
      },
      bind(files.resolvConf, '/etc/resolv.conf'),
      bind(trustedCertificates, trustedCertificates),
      bind(files.init, initInside),
      ...[...files.machineFiles, ...spec.platformMounts].map(({ source, target }) => bind(source, target)),
    ],
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'cgroup', 'user', 'network'].map((type) => ({ type })),
      uidMappings: [{ containerID: 0, hostID: slot.uidBase, size: 65_536 }],
      gidMappings: [{ containerID: 0, hostID: slot.uidBase, size: 65_536 }],
      cgroupsPath: files.cgroupsPath,
      resources: {
        memory: { limit: memory, ...(files.swapAccounting ? { swap: memory } : {}) },
        pids: { limit: processes },
        cpu: {
          shares: 1024,
          quota: Math.round(Math.min(cpus, availableParallelism()) * 100_000),
          period: 100_000,
          ...(files.cpuset === undefined ? {} : { cpus: files.cpuset }),
        },
        devices: [
          { allow: false, access: 'rwm' },
          ...devices.map(([type, major, minor]) => ({
            allow: true,
            type,
            major,
            ...(minor === undefined ? {} : { minor }),
            access: 'rwm',
          })),
        ],
      },
      seccomp,
      maskedPaths: [
        '/proc/acpi',
        '/proc/asound',
        '/proc/cmdline',
        '/proc/config.gz',
        '/proc/diskstats',
        '/proc/interrupts',
        '/proc/kallsyms',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/partitions',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/proc/sched_debug',
        '/proc/scsi',
        '/sys/block',
        '/sys/class/block',
        '/sys/dev/block',
        '/sys/devices/virtual/block',
        '/sys/firmware',
        '/sys/kernel/debug',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger', '/sys/fs/cgroup'],
    },
  }
}

/** What is mounted on the root itself, and brings along what is mounted further down. */
export function mountedOnRoot({ mounts }: Pick<ReturnType<typeof ociConfig>, 'mounts'>): string[] {
  const all = mounts.map(({ destination }) => destination)
  return all.filter((path) => !all.some((other) => path.startsWith(`${other}/`)))
}
