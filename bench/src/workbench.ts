import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ImageFiles } from '@vm0/checkpoints'

const exec = promisify(execFile)

/** Runs a command to its end; returns its milliseconds. */
export async function timed(command: string, args: readonly string[], env?: Record<string, string>): Promise<number> {
  const startedMs = performance.now()
  await exec(command, args, { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 ** 2 })
  return performance.now() - startedMs
}

/** A folder whose upper lies on an ext4 of its own in a sparse file, under an overlay, as a sandbox has it. */
export class Workbench {
  private readonly mounts: string[] = []

  private constructor(readonly directory: string) {}

  static async open(): Promise<Workbench> {
    const bench = new Workbench(await mkdtemp(join(tmpdir(), 'vm0-bench-')))
    const image = bench.path('disk.ext4')
    const file = await open(image, 'w')
    await file.truncate(10 * 1024 ** 3)
    await file.close()
    await exec('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1,nodiscard', '-m', '0', image])
    await bench.mount(bench.path('disk'), '-o', 'loop,nodev,nosuid,noatime,nobarrier', image)
    await mkdir(bench.upper)
    await mkdir(bench.path('disk/work'))
    await mkdir(bench.path('base'))
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
    this.mounts.push(at)
  }

  /** Mounts layer images, the oldest first, over the base; returns the root. */
  async mountLayers(name: string, images: readonly ImageFiles[]): Promise<string> {
    const lowers = images.map((_, index) => this.path(`${name}-l${index}`))
    await Promise.all(
      images.map(({ path, devices }, index) => {
        const options = ['ro', 'loop', ...devices.map((device) => `device=${device}`)]
        return this.mount(lowers[index] as string, '-t', 'erofs', '-o', options.join(','), path)
      }),
    )
    const root = this.path(name)
    const upper = this.path(`${name}-upper`)
    await mkdir(join(upper, 'upper'), { recursive: true })
    await mkdir(join(upper, 'work'))
    const lowerdir = [...lowers.toReversed(), this.path('base')].join(':')
    await this.mount(
      root,
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${lowerdir},upperdir=${upper}/upper,workdir=${upper}/work`,
    )
    return root
  }

  async close(): Promise<void> {
    for (const path of this.mounts.toReversed()) await exec('umount', ['-l', path])
    await rm(this.directory, { recursive: true, force: true })
  }
}

export async function diskUse(...paths: string[]): Promise<number> {
  const { stdout } = await exec('du', ['-s', '-B1', '-c', ...paths])
  return Number(stdout.trim().split('\n').at(-1)?.split('\t')[0])
}

/** Starts a new count of the most memory that this process had resident. */
export const resetPeakMemory = (): Promise<void> => writeFile('/proc/self/clear_refs', '5')

export async function peakMemoryMiB(): Promise<number> {
  return Number(/VmHWM:\s+(\d+)/.exec(await readFile('/proc/self/status', 'utf8'))?.[1]) / 1024
}
