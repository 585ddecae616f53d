import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** A file system of the test's own in a file, to fill up. Mounts are this process's own: tests run in a mount namespace. */
export class SmallDisk {
  private constructor(
    private readonly folder: string,
    /** Where it is mounted. */
    readonly path: string,
  ) {}

  static async make(sizeMiB: number): Promise<SmallDisk> {
    const folder = await mkdtemp(join(tmpdir(), 'vm0-disk-'))
    const [image, path] = [join(folder, 'image'), join(folder, 'mounted')]
    await exec('truncate', ['-s', `${sizeMiB}M`, image])
    await exec('mkfs.ext4', ['-q', '-F', '-m', '0', image])
    await mkdir(path)
    await exec('mount', ['-o', 'loop', image, path])
    return new SmallDisk(folder, path)
  }

  /** Takes all room but this much, until `clear`. */
  async leave(freeMiB: number): Promise<void> {
    await this.clear()
    const { stdout } = await exec('df', ['--output=avail', '-B1', this.path])
    const free = Number(stdout.split('\n')[1])
    await exec('fallocate', ['-l', String(free - freeMiB * 1024 ** 2), join(this.path, 'ballast')])
  }

  clear(): Promise<void> {
    return rm(join(this.path, 'ballast'), { force: true })
  }

  async remove(): Promise<void> {
    await exec('umount', ['-l', this.path])
    await rm(this.folder, { recursive: true, force: true })
  }
}
