import { chown, mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { toVm0Error, Vm0Error } from '@vm0/contract'
import type { PreparedSandbox, Sandbox } from '../engine.js'
import type { ImageMounts } from './images.js'
import { unmount } from './mounts.js'
import type { RootMoves } from './root-moves/index.js'
import { mountLowers, mountRoot, type RootFiles } from './root.js'
import type { OciSandbox } from './sandbox.js'
import type { Slot } from './slots.js'

export interface PreparedParts {
  sandbox: OciSandbox
  slot: Slot
  /** Its first process, by the host's ids. */
  initPid: number
  /** Under /run. */
  directory: string
  /** Where its writable file system is mounted. */
  upper: string
  /** What is mounted on its root. */
  mounts: readonly string[]
  images: ImageMounts
  moves: RootMoves
  /** What gives back all that it took, the first step last. */
  undo: (() => Promise<unknown>)[]
  /** Fails where the host has no room for it. */
  beforeUse(): Promise<void>
}

/** Where the upper is put on which it was made: nothing of that is the session's. */
const earlierUpper = 'ahead'

export class Prepared implements PreparedSandbox {
  private used = false

  constructor(private readonly parts: PreparedParts) {}

  async furnish(files: RootFiles): Promise<Sandbox> {
    if (this.used) throw new Vm0Error('INTERNAL', 'a sandbox that was made ahead was asked for twice')
    this.used = true
    const { sandbox, beforeUse } = this.parts
    try {
      await beforeUse()
      if (!(await sandbox.alive())) throw new Error('its first process has ended')
      await this.moveTo(files)
      sandbox.blackBox.resume()
      return sandbox
    } catch (error) {
      await sandbox.close()
      if (error instanceof Vm0Error) throw error
      const { message } = toVm0Error(error)
      throw new Vm0Error('SANDBOX_START_FAILED', `a sandbox that was made ahead could not be used: ${message}`, {
        cause: error,
      })
    }
  }

  private async moveTo(files: RootFiles): Promise<void> {
    const { directory, upper, slot, images, undo, initPid, mounts, moves } = this.parts
    const [lowers] = await Promise.all([
      mountLowers(files, { directory, slot, serial: 1, images, undo }),
      this.clearUpper(),
      unmount(join(directory, 'r')),
    ])
    const root = await mountRoot(lowers, { directory, upper })
    await moves.move({ pid: initPid, root, owner: slot.uidBase, mounts })
    void rm(join(upper, earlierUpper), { recursive: true, force: true }).catch(() => undefined)
  }

  /** An overlay that is mounted keeps the folders that it was given, wherever they are. */
  private async clearUpper(): Promise<void> {
    const { upper, slot } = this.parts
    const earlier = join(upper, earlierUpper)
    await mkdir(earlier)
    for (const name of ['upper', 'work']) {
      await rename(join(upper, name), join(earlier, name))
      await mkdir(join(upper, name), { mode: 0o755 })
      await chown(join(upper, name), slot.uidBase, slot.uidBase)
    }
  }

  async close(): Promise<void> {
    if (!this.used) await this.parts.sandbox.close()
  }
}
