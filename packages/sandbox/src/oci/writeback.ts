import { closeSync, openSync } from 'node:fs'
import koffi from 'koffi'

const libc = koffi.load('libc.so.6')
const syncfs = libc.func('int syncfs(int fd)')

/**
 * Tells whether all that was written to a file system has reached its device. A sparse file grows only as long as the
 * host's disk has room; after that the kernel drops what it could not write, and neither write(2) nor sync(2) says so to
 * whoever is inside. It says it once, on a handle that was open before.
 */
export class Writeback {
  private readonly fd: number
  private lost = false

  constructor(directory: string) {
    this.fd = openSync(directory, 'r')
  }

  /** Writes out what is in memory; false once anything was lost since this was opened. */
  async complete(): Promise<boolean> {
    const result = await new Promise<number>((resolve, reject) => {
      syncfs.async(this.fd, (error: Error | null, value: number) => (error ? reject(error) : resolve(value)))
    })
    if (result !== 0) this.lost = true
    return !this.lost
  }

  close(): void {
    closeSync(this.fd)
  }
}
