import { createHash } from 'node:crypto'
import { mkdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageFiles } from '../engine.js'
import { mountImage, unmount } from './mounts.js'

/** Mounted erofs images, each once per installation, as long as somebody uses it. */
export class ImageMounts {
  private readonly mounts = new Map<string, { users: number; ready: Promise<string> }>()

  constructor(private readonly directory: string) {}

  async acquire(files: ImageFiles): Promise<{ directory: string; release: () => Promise<void> }> {
    const image = files.path
    let mount = this.mounts.get(image)
    if (!mount) {
      mount = { users: 0, ready: this.mount(files) }
      this.mounts.set(image, mount)
    }
    mount.users += 1
    const release = async (): Promise<void> => {
      mount.users -= 1
      if (mount.users > 0 || this.mounts.get(image) !== mount) return
      this.mounts.delete(image)
      const directory = await mount.ready.catch(() => undefined)
      if (!directory) return
      await unmount(directory)
      await rmdir(directory).catch(() => undefined)
    }
    try {
      return { directory: await mount.ready, release }
    } catch (error) {
      await release()
      throw error
    }
  }

  private serial = 0
  private async mount(files: ImageFiles): Promise<string> {
    this.serial += 1
    const directory = join(
      this.directory,
      `${createHash('sha256').update(files.path).digest('hex').slice(0, 8)}-${this.serial}`,
    )
    await mkdir(directory, { recursive: true })
    await mountImage(files, directory)
    return directory
  }
}
