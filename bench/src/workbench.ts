import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ImageFiles } from '@vm0/checkpoints'
import { ImageMounts, makeUpper, mountLowers, mountRoot, removeUpper, Slot } from '@vm0/sandbox'

const exec = promisify(execFile)
/** Slots are taken from the first on: this one and those before it are nobody's. */
const lastSlot = 31_999

/** Runs a command to its end; returns its milliseconds. */
export async function timed(command: string, args: readonly string[], env?: Record<string, string>): Promise<number> {
  const startedMs = performance.now()
  await exec(command, args, { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 ** 2 })
  return performance.now() - startedMs
}

/** A folder whose upper lies on an ext4 of its own in a sparse file, under an overlay, as a sandbox has it. */
export class Workbench {
  private readonly undo: Step[] = []
  private readonly images: ImageMounts
  private restored = 0

  private constructor(readonly directory: string) {
    this.images = new ImageMounts(this.path('images'))
  }

  static async open(): Promise<Workbench> {
    const bench = new Workbench(await mkdtemp(join(tmpdir(), 'vm0-bench-')))
    await chmod(bench.directory, 0o711)
    const image = bench.path('disk.ext4')
    const file = await open(image, 'w')
    await file.truncate(10 * 1024 ** 3)
    await file.close()
    await exec('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1,nodiscard', '-m', '0', image])
    await bench.mount(bench.path('disk'), '-o', 'loop,nodev,nosuid,noatime,nobarrier', image)
    await mkdir(bench.upper)
    await mkdir(bench.path('disk/work'))
    await mkdir(bench.path('base'))
    await exec('mkfs.erofs', ['--quiet', bench.path('base.erofs'), bench.path('base')])
    const options = `lowerdir=${bench.path('base')},upperdir=${bench.upper},workdir=${bench.path('disk/work')}`
    await bench.mount(bench.live, '-t', 'overlay', 'overlay', '-o', options)
    return bench
  }

  get upper(): string {
    return this.path('disk/upper')
  }
  get live(): string {
    return this.path('live')
  }
  path(name: string): string {
    return join(this.directory, name)
  }

  async mount(at: string, ...args: string[]): Promise<void> {
    await mkdir(at, { recursive: true })
    await exec('mount', [...args, at])
    this.undo.push(() => exec('umount', ['-l', at]))
  }

  /** Mounts layer images, the oldest first, over an empty template, as the platform does for a sandbox: to be taken away again. */
  async mountLayers(layers: readonly ImageFiles[]): Promise<{ root: string; owner: number; unmount(): Promise<void> }> {
    const slot = new Slot(lastSlot - this.restored)
    const directory = this.path(`r${this.restored}`)
    const upper = join(directory, 'u')
    const upperFile = join(directory, 'upper.ext4')
    this.restored += 1
    const undo: Step[] = [() => rm(directory, { recursive: true }), () => removeUpper(upperFile, upper)]
    const unmount = (): Promise<void> => undoAll(undo)
    this.undo.push(unmount)
    await mkdir(directory)
    const places = { directory, slot, serial: 0, images: this.images, undo }
    const [lowers] = await Promise.all([
      mountLowers({ templateImage: this.path('base.erofs'), layers }, places),
      makeUpper(upperFile, upper, 10 * 1024, slot.uidBase),
    ])
    undo.push(() => exec('umount', ['-l', join(directory, 'r')]))
    return { root: await mountRoot(lowers, { directory, upper }), owner: slot.uidBase, unmount }
  }

  async close(): Promise<void> {
    await undoAll(this.undo)
    await rm(this.directory, { recursive: true, force: true })
  }
}

type Step = () => Promise<unknown>

async function undoAll(steps: Step[]): Promise<void> {
  for (const step of steps.splice(0).toReversed()) await step().catch(() => undefined)
}

/** Waits until what was written before is on disk, so that what is measured next does not wait for it. */
export const settle = (): Promise<number> => timed('sync', [])

export async function diskUse(...paths: string[]): Promise<number> {
  const { stdout } = await exec('du', ['-s', '-B1', '-c', ...paths])
  return Number(stdout.trim().split('\n').at(-1)?.split('\t')[0])
}

/** Starts a new count of the most memory that this process had resident. */
export const resetPeakMemory = (): Promise<void> => writeFile('/proc/self/clear_refs', '5')

export async function peakMemoryMiB(): Promise<number> {
  return Number(/VmHWM:\s+(\d+)/.exec(await readFile('/proc/self/status', 'utf8'))?.[1]) / 1024
}
