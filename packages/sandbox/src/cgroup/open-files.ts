import { closeSync, openSync, readSync } from 'node:fs'

const buffer = Buffer.allocUnsafe(65_536)

/** Files of the kernel that are read over and over: each is opened once. Empty where the kernel has none, or no more. */
export class OpenFiles {
  private readonly fds = new Map<string, number>()

  text(path: string): string {
    try {
      let fd = this.fds.get(path)
      if (fd === undefined) {
        fd = openSync(path, 'r')
        this.fds.set(path, fd)
      }
      return buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0))
    } catch {
      return ''
    }
  }

  number(path: string): number {
    return Number(this.text(path)) || 0
  }

  close(): void {
    for (const fd of this.fds.values()) closeSync(fd)
    this.fds.clear()
  }
}

/** A file of the kernel, read once: at most 64 KiB; empty where it isn't there any more. */
export function readOnce(path: string): string {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return ''
  }
  try {
    return buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0))
  } catch {
    return ''
  } finally {
    closeSync(fd)
  }
}
