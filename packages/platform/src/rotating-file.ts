import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

export interface RotatingFileOptions {
  /** Past so many bytes a new file is begun. */
  maxBytes: number
  /** So many of the files before are kept, as `FILE.1` (the newest) to `FILE.N`. */
  keep: number
}

/**
 * A log of bounded size. A line is in the kernel's hands when `write` returns, which is what a process that is killed leaves. A
 * log that can't be written is no reason to end.
 */
export function rotatingFile(path: string, { maxBytes, keep }: RotatingFileOptions): { write(line: string): void } {
  mkdirSync(dirname(path), { recursive: true })
  let fd: number | undefined
  let bytes = 0
  const rotate = (): void => {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
    for (let number = keep - 1; number >= 0; number -= 1) {
      try {
        renameSync(number === 0 ? path : `${path}.${number}`, `${path}.${number + 1}`)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
    }
  }
  return {
    write(line) {
      try {
        if (fd === undefined) {
          fd = openSync(path, 'a', 0o600)
          bytes = fstatSync(fd).size
        }
        if (bytes > 0 && bytes + line.length > maxBytes) {
          rotate()
          fd = openSync(path, 'a', 0o600)
          bytes = 0
        }
        bytes += writeSync(fd, line)
      } catch {
        /* a full disk, say: what is logged then is lost */
      }
    },
  }
}
