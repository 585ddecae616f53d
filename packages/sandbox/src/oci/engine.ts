import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toVm0Error, Vm0Error } from '@vm0/contract'
import { openCgroups } from '../cgroup/cgroup.js'
import { requirePrograms } from '../host-programs.js'
import type { EngineOptions, Sandbox, SandboxEngine, SandboxSpec } from '../engine.js'
import { defaultPath, ociConfig } from './bundle.js'
import { run } from './commands.js'
import { DiskGuard, freeBytes } from './disk-guard.js'
import { readHostAccess, type HostAccess } from './host-access.js'
import { bindIdmapped, unmount } from './idmap.js'
import { ImageMounts } from './images.js'
import { hasCpuset, makeMachineView } from './machine-view.js'
import { Network, removeNetworkOf } from './network.js'
import { identify } from './processes.js'
import { OciSandbox } from './sandbox.js'
import { releaseSlotsOf, takeSlot, type Slot } from './slots.js'
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
  mount: 'mount',
  umount: 'mount',
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
  await endStrays(options.installation)
  await reapInstallation(options)
  markChildren(options.installation)
  const engine = new OciEngine(options, await readHostAccess(), await takeSlot(options.installation))
  try {
    await engine.open()
  } catch (error) {
    await engine.close()
    throw error
  }
  return engine
}

/** Ends and removes what an earlier process of this installation left on the host. */
export async function reapInstallation({
  installation,
  dataDir,
  runtime = 'crun',
}: Pick<EngineOptions, 'installation' | 'dataDir' | 'runtime'>): Promise<void> {
  const runDirectory = `/run/vm0/${installation}`
  for (const id of await readdir(join(runDirectory, 'crun')).catch(() => [])) {
    await run(runtime, ['--root', join(runDirectory, 'crun'), 'delete', '--force', id]).catch(() => undefined)
  }
  const cgroups = openCgroups()
  await cgroups.remove(`/vm0/${installation}`)
  await cgroups.removeIfEmpty('/vm0')
  await removeNetworkOf(installation)
  await releaseSlotsOf(installation)
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${runDirectory}/`))
  for (const path of mounts.toReversed()) await unmount(path)
  await rm(runDirectory, { recursive: true, force: true })
  await rm(join(dataDir, 'sandboxes'), { recursive: true, force: true })
}

const defaultMinFreeBytes = 1024 ** 3
const mebibytes = (bytes: number): number => Math.floor(bytes / 1024 ** 2)

class OciEngine implements SandboxEngine {
  private readonly runDirectory: string
  private readonly network: Network
  private readonly images: ImageMounts
  private readonly sandboxes = new Set<OciSandbox>()
  private readonly guard: DiskGuard
  private readonly crun: string[]
  /** All that a command has which goes into a sandbox: what is in there can read it until the command has become another. */
  private readonly hostEnvironment: Record<string, string>
  private readonly cpuset = hasCpuset()
  private readonly cgroups = openCgroups()
  private readonly cgroupsPath: string

  constructor(
    private readonly options: EngineOptions,
    private readonly access: HostAccess,
    gatewaySlot: Slot,
  ) {
    this.runDirectory = `/run/vm0/${options.installation}`
    this.cgroupsPath = `/vm0/${options.installation}`
    this.guard = new DiskGuard(options.dataDir, options.minFreeBytes ?? defaultMinFreeBytes, this.sandboxes)
    this.network = new Network(options.installation, gatewaySlot)
    this.images = new ImageMounts(join(this.runDirectory, 'img'))
    this.hostEnvironment = { PATH: process.env.PATH ?? defaultPath, VM0_INSTALLATION: options.installation }
    this.crun = [options.runtime ?? 'crun', '--cgroup-manager=cgroupfs', '--root', join(this.runDirectory, 'crun')]
  }

  get gatewayAddress(): string {
    return this.network.gatewayAddress
  }

  async open(): Promise<void> {
    await mkdir(join(this.runDirectory, 'crun'), { recursive: true, mode: 0o755 })
    await mkdir(join(this.options.dataDir, 'sandboxes'), { recursive: true, mode: 0o700 })
    await this.cgroups.prepare(this.cgroupsPath)
    await this.network.open(this.options.gatewayPort, this.access)
    const runtime = this.crun[0] as string
    await run(runtime, ['--version']).catch((cause: unknown) => {
      throw new Vm0Error('RUNTIME_MISSING', `${runtime} could not be started; expected an OCI runtime`, { cause })
    })
  }

  async create(spec: SandboxSpec): Promise<Sandbox> {
    await this.requireRoom()
    const slot = await takeSlot(this.options.installation)
    const directory = join(this.runDirectory, spec.id)
    const records = join(this.options.dataDir, 'sandboxes', spec.id)
    const upperFile = join(records, 'upper.ext4')
    const upper = join(directory, 'u')
    const root = join(directory, 'r')
    const cgroupsPath = `${this.cgroupsPath}/${spec.id}`
    const undo: (() => Promise<unknown>)[] = [() => slot.release()]
    const teardown = async (): Promise<void> => {
      for (const step of undo.toReversed()) await step().catch(() => undefined)
    }
    try {
      await mkdir(directory, { recursive: true, mode: 0o711 })
      await mkdir(records, { recursive: true, mode: 0o700 })
      undo.push(
        () => rm(records, { recursive: true, force: true }),
        () => rm(directory, { recursive: true, force: true }),
      )
      const images = [...spec.layers.toReversed(), spec.templateImage]
      const lowers = images.map((_, index) => join(directory, `l${index}`))
      undo.push(() => removeUpper(upperFile, upper))
      const [mounted] = await Promise.all([
        this.bindImages(images, lowers, slot, undo),
        makeUpper(upperFile, upper, spec.resources.diskMiB, slot.uidBase),
      ])
      void mounted
      // The upper's root is what / shows: it goes on with the mode and owner of the session's last one.
      const { mode, uid, gid } = await stat(lowers[0] as string)
      await chmod(join(upper, 'upper'), mode & 0o7777)
      await chown(join(upper, 'upper'), uid, gid)
      const writeback = new Writeback(upper)
      undo.push(async () => writeback.close())
      await mkdir(root)
      undo.push(() => unmount(root))
      await run('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        // Checkpoints know whiteouts and opaque directories only, whatever else the kernel's defaults are.
        `lowerdir=${lowers.join(':')},upperdir=${upper}/upper,workdir=${upper}/work,redirect_dir=off,metacopy=off,index=off`,
        root,
      ])
      const resolvConf = join(directory, 'resolv.conf')
      await writeFile(resolvConf, this.access.nameServers.map((address) => `nameserver ${address}\n`).join(''), {
        mode: 0o644,
      })
      const environment = {
        ...this.access.environment,
        NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt',
        SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt',
      }
      const view = await makeMachineView(directory, slot.number, spec.resources)
      const crun = view.cpus === undefined || this.cpuset ? this.crun : ['taskset', '-c', view.cpus, ...this.crun]
      const config = ociConfig(
        spec,
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
      const [command, ...rest] = this.crun
      undo.push(
        () => this.cgroups.remove(cgroupsPath),
        () => run(command as string, [...rest, 'delete', '--force', spec.id]),
        () => this.network.detach(slot),
      )
      const pidFile = join(directory, 'pid')
      const args = ['--bundle', directory, '--pid-file', pidFile, spec.id]
      await runDetached(crun, args, join(directory, 'crun.log'), this.hostEnvironment)
      const init = await identify(Number(await readFile(pidFile, 'utf8')))
      await this.network.attach(slot, init.pid)
      const sandbox = new OciSandbox({
        id: spec.id,
        slot,
        runDirectory: directory,
        recordDirectory: records,
        crun,
        init,
        upperFile,
        writeback,
        cgroup: this.cgroups.at(cgroupsPath),
        cgroupsPath,
        environment,
        hostEnvironment: this.hostEnvironment,
        teardown: async () => {
          this.sandboxes.delete(sandbox)
          await teardown()
        },
      })
      this.sandboxes.add(sandbox)
      return sandbox
    } catch (error) {
      await teardown()
      if (error instanceof Vm0Error) throw error
      const { message } = toVm0Error(error)
      throw new Vm0Error('SANDBOX_START_FAILED', `the sandbox could not be made: ${message}`, { cause: error })
    }
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

  private async bindImages(
    images: string[],
    lowers: string[],
    slot: Slot,
    undo: (() => Promise<unknown>)[],
  ): Promise<void> {
    await Promise.all(
      images.map(async (image, index) => {
        const { directory, release } = await this.images.acquire(image)
        // Giving back an erofs mount takes tens of milliseconds: nobody waits for it.
        undo.push(
          async () => void release(),
          () => unmount(lowers[index] as string),
        )
        await bindIdmapped(directory, lowers[index] as string, { from: 0, to: slot.uidBase, count: 65_536 })
      }),
    )
  }

  async close(): Promise<void> {
    await this.guard.close()
    await Promise.all([...this.sandboxes].map((sandbox) => sandbox.close()))
    await this.network.close()
    await reapInstallation(this.options)
  }
}

/**
 * Starts the container. Its first process keeps the streams for as long as it lives and what runs inside can reach them
 * through it, so they are /dev/null and no file of the host; what crun itself says goes to its log.
 */
async function runDetached(
  crun: readonly string[],
  args: readonly string[],
  log: string,
  env: Record<string, string>,
): Promise<void> {
  const [command, ...options] = crun
  const child = spawn(command as string, [...options, '--log', log, 'run', '--detach', ...args], {
    stdio: 'ignore',
    env,
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code === 0) return
  const words = await readFile(log, 'utf8').catch(() => '')
  throw new Error(`crun could not start it: ${words.trim() || `it ended with ${code ?? 'a signal'}`}`)
}
