import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rename, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { Vm0Error } from '@vm0/contract'
import { spawn } from '@vm0/process'
import type { SandboxRecorder } from '../black-box/index.js'
import { type Cgroup } from '../cgroup/cgroup.js'
import type {
  ExecChunk,
  ExecOptions,
  MonitoredProcess,
  ProcessSpec,
  Sandbox,
  SandboxCounts,
  SandboxProcess,
  SandboxStats,
} from '../engine.js'
import type { Guarded } from './disk-guard.js'
import { unmount } from './mounts.js'
import { outputOf } from './exec-output.js'
import { inhabitants } from './inhabitants.js'
import { bindIdmapped } from './idmap.js'
import { isSameProcess, killGroupOf, killInside, type ProcessIdentity } from './processes.js'
import { shownIn } from './host-files.js'
import { InsideCommands } from './inside-commands.js'
import { waitForFile } from './monitored-process.js'
import { gatewayInside } from './network.js'
import type { Slot } from './slots.js'
import { Spawned } from './spawned.js'
import type { Writeback } from './writeback.js'

export interface OciSandboxParts {
  id: string
  slot: Slot
  /** Host folder of mounts and bundle (under /run). */
  runDirectory: string
  /** Host folder of the records of its processes. */
  recordDirectory: string
  crun: readonly string[]
  init: ProcessIdentity
  upperFile: string
  writeback: Writeback
  /** It has its network, and a later process of the platform would find it. */
  connected: Promise<void>
  cgroup: Cgroup
  recorder: SandboxRecorder
  /** As in the OCI configuration. */
  cgroupsPath: string
  environment: Readonly<Record<string, string>>
  /** The environment of the commands that start processes in it. */
  hostEnvironment: Readonly<Record<string, string>>
  teardown(): Promise<void>
}

/** How long a command that is to be ended may take to be started. */
const startPatienceMs = 2_000

export class OciSandbox implements Sandbox, Guarded {
  failure: Vm0Error | undefined
  readonly id: string
  readonly address: string
  readonly gatewayUrl = `http://${gatewayInside}`
  private closing: Promise<void> | undefined
  private readonly commands: InsideCommands
  private readonly spawned: Spawned

  constructor(private readonly parts: OciSandboxParts) {
    this.id = parts.id
    this.address = parts.slot.sandboxAddress
    this.commands = new InsideCommands(parts.id, parts.crun, parts.environment)
    this.spawned = new Spawned({ ...parts, commands: this.commands })
    parts.connected.catch(() => undefined) // told to whoever starts something in it
  }

  private async connected(): Promise<void> {
    await this.parts.connected.catch((cause: Error) => {
      throw new Vm0Error('SANDBOX_START_FAILED', `the sandbox has no network: ${cause.message}`, { cause })
    })
  }

  /** Done once it has its network, with or without success. */
  async settled(): Promise<void> {
    await this.parts.connected.catch(() => undefined)
  }

  get records(): string {
    return this.parts.recordDirectory
  }

  /** One that an earlier release has made has no such place: nothing is shown there. */
  async show(name: string, text: string): Promise<void> {
    const path = join(shownIn(this.parts.runDirectory), name)
    try {
      await writeFile(`${path}.new`, text, { mode: 0o644 })
      await rename(`${path}.new`, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  get upperFile(): string {
    return this.parts.upperFile
  }

  fail(reason: Vm0Error): Promise<void> {
    this.failure ??= reason
    return this.close()
  }

  async spawn(spec: ProcessSpec): Promise<MonitoredProcess> {
    const started = await this.spawned.spawn(spec)
    await this.connected()
    return started
  }

  /** Has a process wait in it, which the first that is spawned begins as. */
  awaitSpawn(first: Pick<ProcessSpec, 'maxOutputBytes'>): Promise<void> {
    return this.spawned.awaitSpawn(first)
  }

  attach(id: string): Promise<MonitoredProcess | undefined> {
    return this.spawned.attach(id)
  }

  async *exec({ args, env = {}, cwd = '/workspace', stdin, signal }: ExecOptions): AsyncGenerator<ExecChunk> {
    signal?.throwIfAborted()
    await this.connected()
    const name = join(this.parts.runDirectory, `exec-${randomBytes(6).toString('hex')}`)
    const pidFile = `${name}.pid`
    await this.commands.write(`${name}.json`, { args, cwd, env: this.commands.environmentOf(env) })
    const [command, ...rest] = this.commands.exec(`${name}.json`, pidFile)
    // A process group of its own, which the command's processes share: all of it can be ended.
    const child = spawn(command as string, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: this.parts.hostEnvironment,
    })
    const ended = new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code) => resolve(code ?? 137))
    })
    ended.catch(() => undefined)
    const stop = async (): Promise<void> => {
      // What is started may say something before crun tells its process id, by which alone it can be found.
      const patience = wait(startPatienceMs, undefined, { ref: false })
      await waitForFile(pidFile, Promise.race([ended.catch(() => undefined), patience])).catch(() => undefined)
      await killInside(pidFile, this.parts.cgroupsPath).finally(() => killGroupOf(child))
    }
    const abort = (): void => void stop().catch(() => undefined)
    signal?.addEventListener('abort', abort, { once: true })
    child.stdin.on('error', () => undefined) // a command may end without reading all of it
    if (stdin === undefined) child.stdin.end()
    else
      Readable.from(stdin instanceof Uint8Array ? [stdin] : stdin)
        .on('error', () => child.stdin.destroy())
        .pipe(child.stdin)
    let finished = false
    try {
      let words = ''
      for await (const chunk of outputOf(child.stdout, child.stderr, ended)) {
        if (chunk.stream === 'stderr' && words.length < 1000) words += Buffer.from(chunk.data).toString()
        yield chunk
      }
      let exitCode = await ended
      finished = true
      // One that was ended here may have been ended before crun came to write its process id.
      if (exitCode !== 0 && !signal?.aborted && !existsSync(pidFile)) exitCode = await this.statusOfUnstarted(words)
      yield { exitCode }
    } finally {
      signal?.removeEventListener('abort', abort)
      if (!finished) await stop().catch(() => undefined)
      await Promise.all([rm(`${name}.json`, { force: true }), rm(pidFile, { force: true })])
    }
  }

  /** crun wrote no process id: what it said tells why. As a shell has it: 127 not found, 126 found and not to be run. */
  private async statusOfUnstarted(words: string): Promise<number> {
    if (!(await this.alive())) throw new Vm0Error('EXEC_FAILED', 'the sandbox has ended: its first process is gone')
    if (/not found|No such file/.test(words)) return 127
    if (/open executable|exec format/i.test(words)) return 126
    throw new Vm0Error('EXEC_FAILED', `the command could not be started in the sandbox: ${words.trim()}`)
  }

  alive(): Promise<boolean> {
    return isSameProcess(this.parts.init)
  }

  /** Where the host has no control group for the CPU all take their turns alike. */
  async yieldCpu(): Promise<() => Promise<void>> {
    const { idle, share, small } = this.parts.cgroup.cpu
    const usual = await readFile(share, 'utf8').catch(() => undefined)
    if (usual === undefined) return async () => undefined
    // A task that wakes in another group takes the CPU from one of these at once, not when its slice is over.
    const isIdle = await writeFile(idle, '1', { flag: 'r+' }).then(
      () => true,
      () => false,
    )
    if (!isIdle) await writeFile(share, small)
    return async () => {
      if (this.closing) return
      if (isIdle) await writeFile(idle, '0')
      await writeFile(share, usual.trim())
    }
  }

  async freeze(): Promise<void> {
    if (this.failure) throw this.failure
    await this.parts.cgroup.freeze()
    // Not before: what is held at its memory limit can't be frozen until that is decided.
    this.parts.recorder.pause()
  }

  async thaw(): Promise<void> {
    if (this.closing) return
    await this.parts.cgroup.thaw()
    this.parts.recorder.resume()
  }

  async reclaim(signal: AbortSignal): Promise<number> {
    if (this.failure) throw this.failure
    const { cgroup, recorder } = this.parts
    const before = (await cgroup.stats()).memoryBytes
    await cgroup.reclaim(signal)
    // Nobody looks at one that is frozen: what was read last is told of it.
    recorder.look()
    return Math.max(0, before - (await cgroup.stats()).memoryBytes)
  }

  get blackBox(): SandboxRecorder {
    return this.parts.recorder
  }

  counts(): SandboxCounts {
    const meter = this.parts.cgroup.meter()
    try {
      const { processes, processLimit } = meter.details()
      return { processes, processLimit, oomKills: meter.gauge().oomKills }
    } finally {
      meter.close()
    }
  }

  async stats(): Promise<SandboxStats> {
    const [group, disk] = await Promise.all([this.parts.cgroup.stats(), statfs(join(this.parts.runDirectory, 'u'))])
    return {
      ...group,
      diskTotalBytes: disk.blocks * disk.bsize,
      diskUsedBytes: (disk.blocks - disk.bfree) * disk.bsize,
    }
  }

  async processes(): Promise<SandboxProcess[]> {
    // Everything descends from the first process: what it took over from others is not its own.
    return inhabitants(this.parts.cgroup.members, await this.spawned.pids(), this.parts.init.pid)
  }

  async withUpperView<T>(use: (directory: string) => Promise<T>): Promise<T> {
    if (this.failure) throw this.failure
    const view = join(this.parts.runDirectory, `view-${randomBytes(4).toString('hex')}`)
    await bindIdmapped(join(this.parts.runDirectory, 'u', 'upper'), view, {
      from: this.parts.slot.uidBase,
      to: 0,
      count: 65_536,
    })
    try {
      const result = await use(view)
      if (this.failure) throw this.failure
      if (await this.parts.writeback.complete()) return result
      throw new Vm0Error(
        'HOST_DISK_FULL',
        "the host's disk was full, and something that the sandbox had written is lost: its state can't be saved",
      )
    } finally {
      await unmount(view)
      await rm(view, { recursive: true, force: true })
    }
  }

  close(): Promise<void> {
    this.parts.recorder.close()
    this.closing ??= Promise.allSettled([this.parts.connected, this.spawned.dispose()]).then(() =>
      this.parts.teardown(),
    )
    return this.closing
  }
}
