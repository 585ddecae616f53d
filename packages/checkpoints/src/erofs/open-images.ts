import { closeSync, openSync } from 'node:fs'
import { ErofsReader } from './reader.js'

/** Files of an image, and of those that have blocks of its files, in the order of its table. */
export interface ImageFiles {
  path: string
  devices: readonly string[]
}

/** Opens images for reading; closes all of them. */
export class OpenImages {
  private readonly fds: number[] = []

  open({ path, devices }: ImageFiles): ErofsReader {
    const fds = [path, ...devices].map((each) => {
      const fd = openSync(each, 'r')
      this.fds.push(fd)
      return fd
    })
    return new ErofsReader(fds)
  }

  close(): void {
    for (const fd of this.fds.splice(0)) closeSync(fd)
  }
}

/** An image that has all blocks of its files itself. */
export const wholeImage = (path: string): ImageFiles => ({ path, devices: [] })
