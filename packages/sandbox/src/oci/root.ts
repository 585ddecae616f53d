import { chmod, chown, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageFiles, SandboxSpec } from '../engine.js'
import { bindIdmapped } from './idmap.js'
import type { ImageMounts } from './images.js'
import { mount, unmount } from './mounts.js'
import type { Slot } from './slots.js'

type Step = () => Promise<unknown>

/** What a root is made of. */
export type RootFiles = Pick<SandboxSpec, 'templateImage' | 'layers'>

export interface RootPlaces {
  /** Of the sandbox, under /run. */
  directory: string
  /** Where its writable file system is mounted: `upper` and `work` are in it. */
  upper: string
}

/** Mounts images with the owners of the slot, where an overlay can have them: gives where, the topmost first. `serial` tells those of one root from those of another of the same sandbox. */
export async function mountLowers(
  { templateImage, layers }: RootFiles,
  {
    directory,
    slot,
    serial,
    images,
    undo,
  }: { directory: string; slot: Slot; serial: number; images: ImageMounts; undo: Step[] },
): Promise<string[]> {
  // An overlay takes no layer twice; of two that are one file the topmost hides all that the other has.
  const once = new Map(layers.toReversed().map((image) => [image.path, image]))
  const all: ImageFiles[] = [...once.values(), { path: templateImage, devices: [] }]
  const directories = all.map((_, index) => join(directory, `l${serial}${index}`))
  await Promise.all(
    all.map(async (image, index) => {
      const { directory: mounted, release } = await images.acquire(image)
      // Giving back an erofs mount takes tens of milliseconds: nobody waits for it.
      undo.push(
        async () => void release(),
        () => unmount(directories[index] as string),
      )
      await bindIdmapped(mounted, directories[index] as string, { from: 0, to: slot.uidBase, count: 65_536 })
    }),
  )
  return directories
}

/** Mounts the overlay at `directory`/r; gives its path. The upper's root goes on with the mode and owner of the topmost image's. */
export async function mountRoot(lowers: readonly string[], { directory, upper }: RootPlaces): Promise<string> {
  const { mode, uid, gid } = await stat(lowers[0] as string)
  await chmod(join(upper, 'upper'), mode & 0o7777)
  await chown(join(upper, 'upper'), uid, gid)
  const root = join(directory, 'r')
  await mkdir(root, { recursive: true })
  await mount({
    source: 'overlay',
    target: root,
    type: 'overlay',
    // Checkpoints know whiteouts and opaque directories only, whatever else the kernel's defaults are.
    data: `lowerdir=${lowers.join(':')},upperdir=${upper}/upper,workdir=${upper}/work,redirect_dir=off,metacopy=off,index=off`,
  })
  return root
}
