import type { OpenDirectory } from './open-directory.js'
import { statAt } from './syscalls.js'

/**
 * Tells the ctime of inodes. Nothing inside a sandbox can set one, and everything that happens to an inode or its names
 * moves it: an inode whose ctime is the one of the last checkpoint is unchanged.
 */
export interface Stamps {
  /** Loads the stamp of an entry into `seconds` and `nanoseconds`. */
  load(ino: number, directory: OpenDirectory, name: string): void
  /** The same where an inode's number is all that it takes. */
  loadByNumber?(ino: number): void
  seconds: number
  nanoseconds: number
}

/** One system call an entry: for file systems whose inode table we can't read. */
export class AskedStamps implements Stamps {
  seconds = 0
  nanoseconds = 0

  load(_ino: number, directory: OpenDirectory, name: string): void {
    const status = statAt(directory.fd, name)
    this.seconds = status.ctimeSeconds
    this.nanoseconds = status.ctimeNanoseconds
  }
}
