import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toVm0Error, Vm0Error, type SandboxRecord } from '@vm0/contract'
import { run } from '@vm0/process'
import { Recorder, SandboxRecorder, Watchdog } from '../black-box/index.js'
import { openCgroups } from '../cgroup/cgroup.js'
import { requirePrograms } from '../host-programs.js'
import {
  shownDirectory,
  type EngineOptions,
  type PreparedSandbox,
  type ProcessSpec,
  type Sandbox,
  type SandboxEngine,
  type SandboxSpec,
} from '../engine.js'
import { endOrphanedCommands, recordFile, survivors, takeOverMounts } from './attach.js'
import { defaultPath, initInside, mountedOnRoot, ociConfig } from './bundle.js'
import { startContainer } from './container.js'
import { DiskGuard, freeBytes } from './disk-guard.js'
import type { Egress } from '../egress/index.js'
import { writeHostFiles } from './host-files.js'
import { readHostAccess, type HostAccess } from './host-access.js'
import { ImageMounts } from './images.js'
import { hasCpuset, makeMachineView } from './machine-view.js'
import { unmount } from './mounts.js'
import { Network } from './network.js'
import { Prepared, type PreparedParts } from './prepared.js'
import { hasBecome } from './processes.js'
import { reapInstallation } from './reap.js'
import { mountLowers, mountRoot } from './root.js'
import { RootMoves } from './root-moves/index.js'
import { OciSandbox } from './sandbox.js'
import { Slot, takeSlot } from './slots.js'
import { endStrays, markChildren } from './strays.js'
import { makeUpper, removeUpper } from './upper.js'
import { Writeback } from './writeback.js'

/** Its pause mode reaps and waits for nothing: whatever is killed inside, the sandbox stays. Static: it runs on any template. */
const initPath = '/usr/bin/catatonit'
const programs = {
  [initPath]: 'catatonit',
  ip: 'iproute2',
  nft: 'nftables',
  'mkfs.ext4': 'e2fsprogs',
  svlogd: 'runit',
  ...Object.fromEntries(['unshare', 'nsenter', 'setsid', 'choom', 'taskset'].map((name) => [name, 'util-linux'])),
}

/** Opens the engine of crun and kernel namespaces. Run it in a mount namespace of its own: its mounts then end with it. */
export async function openOciEngine(options: EngineOptions): Promise<SandboxEngine> {
  if (!/^[a-z0-9]{1,8}$/.test(options.installation))
    throw new Vm0Error(
      'INVALID_REQUEST',
      `installation ${JSON.stringify(options.installation)}: expected 1 to 8 lower-case letters and digits`,
    )
  await requirePrograms({ ...(options.runtime ? {} : { crun: 'crun' }), ...programs })
  const kept = await survivors(options)
  await endStrays(options.installation, [...kept.keys()])
  await reapInstallation(options, kept)
  markChildren(options.installation)
  const engine = new OciEngine(options, await readHostAccess(), await takeSlot(options.installation))
  try {
    await engine.open(kept)
  } catch (error) {
    await engine.close()
    throw error
  }
  return engine
}

type Step = () => Promise<unknown>

async function undoAll(steps: readonly Step[]): Promise<void> {
  for (const step of steps.toReversed()) await step().catch(() => undefined)
}

/** What one sandbox is known by. */
interface Owned extends Omit<SandboxRecord, 'v' | 'slot'> {
  slot: Slot
  writeback: Writeback
  connected: Promise<void>
}

/** One that was just made, with what is needed to make more of it. */
type Made = Pick<PreparedParts, 'sandbox' | 'slot' | 'initPid' | 'mounts' | 'undo'>

const defaultMinFreeBytes = 1024 ** 3
const mebibytes = (bytes: number): number => Math.floor(bytes / 1024 ** 2)

class OciEngine implements SandboxEngine {
  private readonly runDirectory: string
  private readonly network: Network
  private readonly images: ImageMounts
  private readonly sandboxes = new Set<OciSandbox>()
  private readonly kept: Sandbox[] = []
  private readonly guard: DiskGuard
  private readonly crun: string[]
  /** All that a command has which goes into a sandbox: what is in there can read it until the command has become another. */
  private readonly hostEnvironment: Record<string, string>
  private readonly cpuset = hasCpuset()
  private readonly cgroups = openCgroups()
  private readonly cgroupsPath: string
  private readonly recorder = new Recorder()
  private readonly moves = new RootMoves()
  private readonly watchdog: Watchdog

  constructor(
    private readonly options: EngineOptions,
    private readonly access: HostAccess,
    gatewaySlot: Slot,
  ) {
    this.runDirectory = `/run/vm0/${options.installation}`
    this.cgroupsPath = `/vm0/${options.installation}`
    const { path, released } = this.cgroups.at(`${this.cgroupsPath}/*`).holdFile
    this.watchdog = new Watchdog(path, released)
    this.guard = new DiskGuard(options.dataDir, options.minFreeBytes ?? defaultMinFreeBytes, this.sandboxes)
    this.network = new Network(options.installation, gatewaySlot)
    this.images = new ImageMounts(join(this.runDirectory, 'img'))
    this.hostEnvironment = { PATH: process.env.PATH ?? defaultPath, VM0_INSTALLATION: options.installation }
    this.crun = [options.runtime ?? 'crun', '--cgroup-manager=cgroupfs', '--root', join(this.runDirectory, 'crun')]
  }

  get gatewayAddress(): string {
    return this.network.gatewayAddress
  }

  egress(): Promise<Egress> {
    return this.network.egress()
  }

  get adopted(): readonly Sandbox[] {
    return this.kept
  }

  async open(kept: ReadonlyMap<string, SandboxRecord>): Promise<void> {
    await mkdir(join(this.runDirectory, 'crun'), { recursive: true, mode: 0o755 })
    await mkdir(join(this.options.dataDir, 'sandboxes'), { recursive: true, mode: 0o700 })
    await this.cgroups.prepare(this.cgroupsPath)
    const slots = [...kept.values()].map(({ slot }) => new Slot(slot))
    await this.network.open(this.options.gatewayPort, this.access, slots)
    const runtime = this.crun[0] as string
    await run(runtime, ['--version']).catch((cause: unknown) => {
      throw new Vm0Error('RUNTIME_MISSING', `${runtime} could not be started; expected an OCI runtime`, { cause })
    })
    await this.watchdog.start()
    await Promise.all([...kept.values()].map((record) => this.attach(record)))
  }

  /** One that can't be had any more is removed like those that nobody wanted. */
  private async attach({ id, slot: number, init, cpus, environment }: SandboxRecord): Promise<void> {
    const slot = new Slot(number)
    const { directory, records, upperFile, upper, cgroupsPath } = this.placesOf(id)
    const undo: Step[] = [
      () => slot.release(),
      () => rm(records, { recursive: true, force: true }),
      () => rm(directory, { recursive: true, force: true }),
      () => removeUpper(upperFile, upper),
    ]
    try {
      await takeOverMounts(directory, upperFile)
      const writeback = new Writeback(upper)
      undo.push(async () => writeback.close(), ...this.endings(id, slot))
      await endOrphanedCommands(directory, cgroupsPath)
      await this.cgroups.at(cgroupsPath).hold()
      const sandbox = this.own({ id, slot, init, cpus, environment, writeback, connected: Promise.resolve() }, undo)
      await sandbox.thaw()
      this.kept.push(sandbox)
    } catch {
      await undoAll([...undo, ...this.endings(id, slot)])
    }
  }

  async create(spec: SandboxSpec): Promise<Sandbox> {
    return (await this.make(spec)).sandbox
  }

  async prepare(spec: SandboxSpec, first: Pick<ProcessSpec, 'maxOutputBytes'>): Promise<PreparedSandbox> {
    this.moves.prepare()
    const made = await this.make(spec)
    const { sandbox } = made
    try {
      await sandbox.settled()
      await sandbox.awaitSpawn(first)
    } catch (error) {
      await sandbox.close()
      throw error
    }
    sandbox.blackBox.pause()
    const { directory, upper } = this.placesOf(spec.id)
    const { images, moves } = this
    // Its first command moves to its control group: what the kernel waits for before that passes beside the mounts.
    const beforeUse = (): Promise<void> => {
      void this.cgroups.expectMove()
      return this.requireRoom()
    }
    return new Prepared({ ...made, directory, upper, images, moves, beforeUse })
  }

  private async make(spec: SandboxSpec): Promise<Made> {
    await this.requireRoom()
    // Beside the mounts: crun's own move follows within the time in which nobody waits.
    void this.cgroups.expectMove()
    const slot = await takeSlot(this.options.installation)
    const { directory, records, upperFile, upper, cgroupsPath } = this.placesOf(spec.id)
    const undo: Step[] = [() => slot.release()]
    try {
      await mkdir(directory, { recursive: true, mode: 0o711 })
      await mkdir(records, { recursive: true, mode: 0o700 })
      undo.push(
        () => rm(records, { recursive: true, force: true }),
        () => rm(directory, { recursive: true, force: true }),
        () => removeUpper(upperFile, upper),
      )
      const [lowers] = await Promise.all([
        mountLowers(spec, { directory, slot, serial: 0, images: this.images, undo }),
        makeUpper(upperFile, upper, spec.resources.diskMiB, slot.uidBase),
      ])
      const writeback = new Writeback(upper)
      undo.push(
        async () => writeback.close(),
        () => unmount(join(directory, 'r')),
      )
      const root = await mountRoot(lowers, { directory, upper })
      const { resolvConf, shown, environment } = await writeHostFiles(directory, this.access)
      const view = await makeMachineView(directory, slot.number, spec.resources)
      const config = ociConfig(
        { ...spec, platformMounts: [...spec.platformMounts, { source: shown, target: shownDirectory }] },
        slot,
        {
          root,
          resolvConf,
          init: initPath,
          cgroupsPath,
          swapAccounting: this.cgroups.limitsSwap(this.cgroupsPath),
          machineFiles: view.files,
          cpuset: this.cpuset ? view.cpus : undefined,
        },
        environment,
      )
      await writeFile(join(directory, 'config.json'), JSON.stringify(config))
      undo.push(...this.endings(spec.id, slot))
      const cpus = this.cpuset ? null : (view.cpus ?? null)
      const init = await startContainer({ id: spec.id, crun: this.crunOn(cpus), directory, env: this.hostEnvironment })
      await Promise.all([this.cgroups.at(cgroupsPath).hold(), hasBecome(init.pid, initInside)])
      const record: SandboxRecord = { v: 1, id: spec.id, slot: slot.number, init, cpus, environment }
      // An agent needs hundreds of milliseconds before it asks for the network.
      const connected = this.network
        .attach(slot, init.pid)
        .then(() => writeFile(recordFile(records), JSON.stringify(record), { mode: 0o600 }))
      const sandbox = this.own({ ...record, slot, writeback, connected }, undo)
      return { sandbox, slot, initPid: init.pid, mounts: mountedOnRoot(config), undo }
    } catch (error) {
      await undoAll(undo)
      if (error instanceof Vm0Error) throw error
      const { message } = toVm0Error(error)
      throw new Vm0Error('SANDBOX_START_FAILED', `the sandbox could not be made: ${message}`, { cause: error })
    }
  }

  private placesOf(id: string) {
    const directory = join(this.runDirectory, id)
    const records = join(this.options.dataDir, 'sandboxes', id)
    const upper = join(directory, 'u')
    return {
      directory,
      records,
      upperFile: join(records, 'upper.ext4'),
      upper,
      cgroupsPath: `${this.cgroupsPath}/${id}`,
    }
  }

  private crunOn(cpus: string | null): string[] {
    return cpus === null ? this.crun : ['taskset', '-c', cpus, ...this.crun]
  }

  /** What ends a container that runs, the last step first. */
  private endings(id: string, slot: Slot): Step[] {
    const [command, ...rest] = this.crun
    return [
      () => this.cgroups.remove(`${this.cgroupsPath}/${id}`),
      () => run(command as string, [...rest, 'delete', '--force', id]),
      () => this.network.detach(slot),
    ]
  }

  private own({ id, slot, init, cpus, environment, writeback, connected }: Owned, undo: readonly Step[]): OciSandbox {
    const { directory, records, upperFile, cgroupsPath } = this.placesOf(id)
    const cgroup = this.cgroups.at(cgroupsPath)
    const disk = join(directory, 'u')
    const recorded = { cgroup, initPid: init.pid, disk, link: this.network.linkOf(slot), uidBase: slot.uidBase }
    const sandbox = new OciSandbox({
      id,
      slot,
      runDirectory: directory,
      recordDirectory: records,
      crun: this.crunOn(cpus),
      init,
      upperFile,
      writeback,
      connected,
      cgroup,
      recorder: new SandboxRecorder(recorded, this.recorder),
      cgroupsPath,
      environment,
      hostEnvironment: this.hostEnvironment,
      teardown: async () => {
        this.sandboxes.delete(sandbox)
        // From here on it is of no use to a later process.
        await rm(recordFile(records), { force: true })
        await undoAll(undo)
      },
    })
    this.sandboxes.add(sandbox)
    return sandbox
  }

  private async requireRoom(): Promise<void> {
    const { dataDir, minFreeBytes = defaultMinFreeBytes } = this.options
    const free = await freeBytes(dataDir)
    if (free >= minFreeBytes) return
    throw new Vm0Error(
      'HOST_DISK_FULL',
      `the file system of ${dataDir} has ${mebibytes(free)} MiB free; expected at least ${mebibytes(minFreeBytes)} to start a sandbox`,
    )
  }

  async close(): Promise<void> {
    await this.guard.close()
    await Promise.all([...this.sandboxes].map((sandbox) => sandbox.close()))
    this.recorder.close()
    await this.moves.close()
    await this.watchdog.close()
    await this.network.close()
    await reapInstallation(this.options)
  }
}
