import type { Resources, Vm0Error } from '@vm0/contract'
import type { BlackBox } from './black-box/types.js'
import type { Egress } from './egress/index.js'

/** An erofs image, and those that have blocks of its files, in the order of its table. */
export interface ImageFiles {
  path: string
  devices: readonly string[]
}

/** What a sandbox is made of. Paths are the host's. */
export interface SandboxSpec {
  /** Unique on the host while the sandbox lives: lower-case letters and digits, at most 20. */
  id: string
  /** The erofs image of the template. */
  templateImage: string
  /** erofs images of the session's layers, the oldest first. */
  layers: readonly ImageFiles[]
  resources: Required<Resources>
  /** Read-only binds of the platform: agent release, CA certificates. Never part of the session's state. */
  platformMounts: readonly { source: string; target: string }[]
}

export interface ProcessSpec {
  /** Unique within the sandbox; names the process's folder. */
  id: string
  args: readonly string[]
  env: Readonly<Record<string, string>>
  cwd: string
  /** Bytes of stdout and stderr each that are kept, with a stamp of 26 bytes a line; the process is ended when it writes more. */
  maxOutputBytes: number
}

export interface OutputLine {
  /** Milliseconds since 1970, the monitor's stamp, with fractions. */
  timeMs: number
  stream: 'stdout' | 'stderr'
  text: string
}

/** A process in a sandbox whose pipes a monitor owns, outside the sandbox and outside this process. */
export interface MonitoredProcess {
  readonly id: string
  /** Writes one line (the newline is added) to stdin; done once the process can read it, or has ended. NOT_READY when it reads nothing. */
  write(line: string): Promise<void>
  /** Lines in order from the first, then those that come; ends when the process has ended and all is read. */
  output(): AsyncIterable<OutputLine>
  /** Resolves once with the exit status as a shell gives it (128 + signal). */
  readonly exited: Promise<{ exitCode: number; reason: 'exit' | 'output_limit' }>
  kill(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** What the kernel says at this moment; `exited` follows a little later. */
  isRunning(): boolean
  /** The host's id of it; undefined before it has one. */
  pid(): number | undefined
}

export interface ExecOptions {
  args: readonly string[]
  env?: Readonly<Record<string, string>>
  cwd?: string
  stdin?: AsyncIterable<Uint8Array> | Uint8Array
  signal?: AbortSignal
}

export type ExecChunk = { stream: 'stdout' | 'stderr'; data: Uint8Array } | { exitCode: number }

/** As it is seen inside. What it says of itself is the sandbox's word. */
export interface SandboxProcess {
  pid: number
  command: string
}

/** What the kernel tells of a sandbox within microseconds, without a thread; zero once it is gone. */
export interface SandboxCounts extends Pick<SandboxStats, 'processes' | 'oomKills'> {
  /** How many processes there may be. */
  processLimit: number
}

export interface SandboxStats {
  memoryBytes: number
  memoryPeakBytes: number
  /** Times that the kernel killed a task because the sandbox was at its memory limit. */
  oomKills: number
  processes: number
  cpuMs: number
  diskUsedBytes: number
  diskTotalBytes: number
}

/** Where `show` of a sandbox puts its files, as they are seen inside. The host has its own /run/vm0, which is not seen there. */
export const shownDirectory = '/run/vm0-shown'

export interface Sandbox {
  readonly id: string
  /** The source address of everything that leaves the sandbox. */
  readonly address: string
  /** The base URL of the gateway as seen from inside: always the same. */
  readonly gatewayUrl: string
  /** A folder of the host that lives and goes with the sandbox: for what its owner must find again after a restart. */
  readonly records: string
  /** Puts a small text where everybody inside can read it and nobody can change it: at `shownDirectory`/`name`. */
  show(name: string, text: string): Promise<void>
  /** Starts a long-lived process under a monitor. */
  spawn(spec: ProcessSpec): Promise<MonitoredProcess>
  /** The process `id` that an earlier process of the platform has spawned; undefined where nothing usable tells of it. */
  attach(id: string): Promise<MonitoredProcess | undefined>
  /**
   * A short command with its streams in this process: for `exec` and files. Ends with `{ exitCode }`, as a shell has it; an
   * abort kills the command with its process group. EXEC_FAILED when the sandbox can't run anything.
   */
  exec(options: ExecOptions): AsyncIterable<ExecChunk>
  /** Why the engine has ended it, once it has: what was not saved is lost. */
  readonly failure: Vm0Error | undefined
  /** False once its first process has ended, by whatever is inside; what was written can still be saved. */
  alive(): Promise<boolean>
  freeze(): Promise<void>
  thaw(): Promise<void>
  /**
   * Gives the memory of a sandbox that is frozen to the host, as far as the kernel finds a place for it: page cache always, the
   * memory of its programs where the host has swap. They have it again as they touch it. Ends early once `signal` aborts. Gives
   * how many bytes it is charged for less.
   */
  reclaim(signal: AbortSignal): Promise<number>
  /** Leaves the CPU to other sandboxes that want it, until what this gives is called. */
  yieldCpu(): Promise<() => Promise<void>>
  stats(): Promise<SandboxStats>
  counts(): SandboxCounts
  /** What is recorded of it on the host. */
  readonly blackBox: BlackBox
  /** What runs in it, but for its first process and those that were spawned, with what these started; frozen or not. */
  processes(): Promise<SandboxProcess[]>
  /**
   * Hands `use` a read-only view of the upper with canonical owners (root inside is 0); the caller freezes first. Fails with
   * HOST_DISK_FULL when the host's disk had no room for something that was written: then the sandbox is of no more use.
   */
  withUpperView<T>(use: (directory: string) => Promise<T>): Promise<T>
  /** Ends every process and gives back all it took: mounts, network, cgroups, upper. Idempotent. */
  close(): Promise<void>
}

export interface EngineOptions {
  /** Names what belongs to this installation on the host: lower-case letters and digits, at most 8. */
  installation: string
  /** Where sandboxes keep their uppers and sockets. */
  dataDir: string
  /** Where the sandboxes' model requests arrive on the host: the port of the gateway's listener on `gatewayAddress()`. */
  gatewayPort: number
  runtime?: string
  /**
   * No sandbox is made when the file system of `dataDir` has less room than this, and with half of it left the sandbox that
   * grows most is ended. Default 1 GiB.
   */
  minFreeBytes?: number
  /** Whether a sandbox that an earlier process of the platform has left alive is kept, by its id. Without it none is. */
  adopt?(id: string): boolean
}

/** A sandbox that nobody has used, of a template alone: its namespaces, control group, network and disk are there. */
export interface PreparedSandbox {
  /**
   * Makes it the sandbox of these files, in place of those that it was made of, within a few milliseconds. May be called once;
   * where it fails with SANDBOX_START_FAILED nothing is left, and `create` may still succeed.
   */
  furnish(files: Pick<SandboxSpec, 'templateImage' | 'layers'>): Promise<Sandbox>
  /** Ends it, unless it was furnished: then it is whose sandbox it has become. */
  close(): Promise<void>
}

export interface SandboxEngine {
  /** The host address that the gateway must listen on: `open()` has made it. */
  readonly gatewayAddress: string
  /** Sandboxes of an earlier process that were kept: they run, with the addresses that they had. */
  readonly adopted: readonly Sandbox[]
  /** What sandboxes have exchanged with the world, but for the gateway, since the engine was opened. */
  egress(): Promise<Egress>
  /** Fails with HOST_DISK_FULL when there is no room, otherwise with SANDBOX_START_FAILED. */
  create(spec: SandboxSpec): Promise<Sandbox>
  /** Makes one ahead of its use, for a first process that may write so much; fails as `create` does. */
  prepare(spec: SandboxSpec, first: Pick<ProcessSpec, 'maxOutputBytes'>): Promise<PreparedSandbox>
  /** Ends every sandbox and gives back what the host holds for this installation. */
  close(): Promise<void>
}
