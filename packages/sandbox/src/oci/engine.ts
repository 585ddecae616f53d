import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toVm0Error, Vm0Error } from '@vm0/contract'
import { cgroupAt, isCgroup2, removeCgroups } from '../cgroup/cgroup.js'
import type { EngineOptions, Sandbox, SandboxEngine, SandboxSpec } from '../engine.js'
import { ociConfig } from './bundle.js'
import { run } from './commands.js'
import { readHostAccess, type HostAccess } from './host-access.js'
import { bindIdmapped, unmount } from './idmap.js'
import { ImageMounts } from './images.js'
import { Network, removeNetworkOf } from './network.js'
import { OciSandbox } from './sandbox.js'
import { releaseSlotsOf, takeSlot, type Slot } from './slots.js'
import { makeUpper, removeUpper } from './upper.js'

const initPath = '/usr/bin/tini-static'

/** Opens the engine of crun and kernel namespaces. Run it in a mount namespace of its own: its mounts then end with it. */
export async function openOciEngine(options: EngineOptions): Promise<SandboxEngine> {
  if (!/^[a-z0-9]{1,8}$/.test(options.installation))
    throw new Vm0Error(
      'INVALID_REQUEST',
      `installation ${JSON.stringify(options.installation)}: expected 1 to 8 lower-case letters and digits`,
    )
  if (!existsSync(initPath))
    throw new Vm0Error('RUNTIME_MISSING', `${initPath} is missing; expected it from the package tini`)
  await reapInstallation(options)
  const engine = new OciEngine(options, await readHostAccess(), await takeSlot(options.installation))
  try {
    await engine.open()
  } catch (error) {
    await reapInstallation(options)
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
  await removeCgroups(`/vm0/${installation}`)
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

class OciEngine implements SandboxEngine {
  private readonly runDirectory: string
  private readonly network: Network
  private readonly images: ImageMounts
  private readonly sandboxes = new Set<Sandbox>()
  private readonly crun: string[]
  private readonly swapAccounting = isCgroup2() || existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes')

  constructor(
    private readonly options: EngineOptions,
    private readonly access: HostAccess,
    gatewaySlot: Slot,
  ) {
    this.runDirectory = `/run/vm0/${options.installation}`
    this.network = new Network(options.installation, gatewaySlot)
    this.images = new ImageMounts(join(this.runDirectory, 'img'))
    this.crun = [options.runtime ?? 'crun', '--cgroup-manager=cgroupfs', '--root', join(this.runDirectory, 'crun')]
  }

  get gatewayAddress(): string {
    return this.network.gatewayAddress
  }

  async open(): Promise<void> {
    await mkdir(join(this.runDirectory, 'crun'), { recursive: true, mode: 0o755 })
    await mkdir(join(this.options.dataDir, 'sandboxes'), { recursive: true, mode: 0o700 })
    await this.network.open(this.options.gatewayPort, this.access)
    await run(this.crun[0] as string, ['--version']).catch((cause: unknown) => {
      throw new Vm0Error(
        'RUNTIME_MISSING',
        `${this.crun[0]} could not be started; expected the OCI runtime from the package crun`,
        { cause },
      )
    })
  }

  async create(spec: SandboxSpec): Promise<Sandbox> {
    const slot = await takeSlot(this.options.installation)
    const directory = join(this.runDirectory, spec.id)
    const records = join(this.options.dataDir, 'sandboxes', spec.id)
    const upperFile = join(records, 'upper.ext4')
    const upper = join(directory, 'u')
    const root = join(directory, 'r')
    const cgroupsPath = `/vm0/${this.options.installation}/${spec.id}`
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
      const config = ociConfig(
        spec,
        slot,
        { root, resolvConf, init: initPath, cgroupsPath, swapAccounting: this.swapAccounting },
        environment,
      )
      await writeFile(join(directory, 'config.json'), JSON.stringify(config))
      const [command, ...rest] = this.crun
      undo.push(
        () => removeCgroups(cgroupsPath),
        () => run(command as string, [...rest, 'delete', '--force', spec.id]),
        () => this.network.detach(slot),
      )
      const pidFile = join(directory, 'pid')
      await runDetached(
        command as string,
        [...rest, 'run', '--detach', '--bundle', directory, '--pid-file', pidFile, spec.id],
        join(directory, 'crun.log'),
      )
      await this.network.attach(slot, Number(await readFile(pidFile, 'utf8')))
      const sandbox = new OciSandbox({
        id: spec.id,
        slot,
        runDirectory: directory,
        recordDirectory: records,
        crun: this.crun,
        cgroup: cgroupAt(cgroupsPath),
        environment,
        teardown: async () => {
          this.sandboxes.delete(sandbox)
          await teardown()
        },
      })
      this.sandboxes.add(sandbox)
      return sandbox
    } catch (error) {
      await teardown()
      const { message } = toVm0Error(error)
      throw new Vm0Error('SANDBOX_START_FAILED', `the sandbox could not be made: ${message}`, { cause: error })
    }
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
    await Promise.all([...this.sandboxes].map((sandbox) => sandbox.close()))
    await this.network.close()
    await reapInstallation(this.options)
  }
}

/** `crun run --detach` leaves its streams to the container's first process: they go to a file, and nothing waits for their end. */
async function runDetached(command: string, args: readonly string[], log: string): Promise<void> {
  await run('sh', ['-c', 'log=$1; shift; exec "$@" </dev/null >"$log" 2>&1', 'sh', log, command, ...args]).catch(
    async (error: unknown) => {
      const words = await readFile(log, 'utf8').catch(() => '')
      throw new Error(`crun could not start it: ${words.trim() || (error as Error).message}`)
    },
  )
}
