import { access, chmod, copyFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncPath } from '@vm0/backends'
import { Vm0Error } from '@vm0/contract'

/** The template images of this machine: one folder for all its installations, each named by its digest. */
export function hostImages(cacheDir: string) {
  const folder = join(cacheDir, 'templates')
  const place = (digest: string): string => join(folder, `${digest.slice('sha256:'.length)}.erofs`)
  return {
    async templateImage(digest: string): Promise<string> {
      const image = place(digest)
      await access(image).catch(() => {
        throw new Vm0Error('UNKNOWN_TEMPLATE', `the template ${digest} is not on this machine; expected it at ${image}`)
      })
      return image
    },

    /** Whole or not at all. */
    async addTemplate(digest: string, image: string): Promise<void> {
      const temporary = `${place(digest)}.new-${process.pid}`
      try {
        await copyFile(image, temporary)
        await chmod(temporary, 0o444)
        await syncPath(temporary)
        await rename(temporary, place(digest))
        await syncPath(folder)
      } finally {
        await rm(temporary, { force: true })
      }
    },
  }
}
