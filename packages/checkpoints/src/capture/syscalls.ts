import { constants } from 'node:fs'
import koffi from 'koffi'

// What Node's fs module has no call for. Names are bytes, relative to an open directory, so that no path is ever resolved
// through a link that the sandbox may have put there.
const libc = koffi.load('libc.so.6')
const sys = {
  openat: libc.func('int openat(int directory, void *name, int flags)'),
  statx: libc.func('int statx(int directory, void *name, int flags, uint mask, void *result)'),
  getdents64: libc.func('long getdents64(int fd, void *buffer, size_t size)'),
  readlinkat: libc.func('long readlinkat(int directory, void *name, void *buffer, size_t size)'),
  flistxattr: libc.func('long flistxattr(int fd, void *list, size_t size)'),
  fgetxattr: libc.func('long fgetxattr(int fd, void *name, void *value, size_t size)'),
  llistxattr: libc.func('long llistxattr(void *path, void *list, size_t size)'),
  lgetxattr: libc.func('long lgetxattr(void *path, void *name, void *value, size_t size)'),
  lseek: libc.func('int64_t lseek(int fd, int64_t offset, int whence)'),
  syncfs: libc.func('int syncfs(int fd)'),
  close: libc.func('int close(int fd)'),
}

export class SystemCallFailed extends Error {
  constructor(
    call: string,
    name: string,
    readonly errno: number,
  ) {
    super(`${call} ${JSON.stringify(name)}: errno ${errno}`)
  }
}

export interface FileStatus {
  ino: number
  mode: number
  nlink: number
  uid: number
  gid: number
  size: number
  /** Of 512 bytes each. */
  blocks: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  ctimeSeconds: number
  ctimeNanoseconds: number
  major: number
  minor: number
  /** Device of the file system. */
  deviceMajor: number
  deviceMinor: number
}

export interface Listed {
  /** A latin1 view of the name's bytes. */
  name: string
  ino: number
  /** `DT_…`: the type bits of st_mode, shifted right by 12; 0 where the file system doesn't say. */
  type: number
}

const oCloExec = 0o2000000
const fileFlags = constants.O_NOFOLLOW | constants.O_NONBLOCK | oCloExec
const directoryFlags = constants.O_DIRECTORY | constants.O_NOFOLLOW | oCloExec
const atSymlinkNoFollow = 0x100
const atEmptyPath = 0x1000
const statxBasicStats = 0x7ff
const seekData = 3
const seekHole = 4
const noData = 6 // ENXIO
const notSupported = 95 // EOPNOTSUPP

const nameBuffer = Buffer.alloc(4096 + 64)
const statBuffer = Buffer.alloc(256)
const listBuffer = Buffer.alloc(128 * 1024)
const valueBuffer = Buffer.alloc(64 * 1024)

function cString(name: string): Buffer {
  const length = nameBuffer.write(name, 0, 'latin1')
  nameBuffer[length] = 0
  return nameBuffer
}

function check(result: number | bigint, call: string, name: string): number {
  const value = Number(result)
  if (value < 0) throw new SystemCallFailed(call, name, koffi.errno())
  return value
}

export function openDirectoryAt(directory: number, name: string): number {
  return check(sys.openat(directory, cString(name), directoryFlags), 'open', name)
}

/** Opens for reading; a FIFO that was put there instead doesn't block. */
export function openFileAt(directory: number, name: string): number {
  return check(sys.openat(directory, cString(name), fileFlags), 'open', name)
}

/** Closes what was opened here; Node keeps books of what its own calls open. */
export function closeFd(fd: number): void {
  sys.close(fd)
}

/** Of an entry of an open directory, or with '' of what is open itself. Doesn't follow links. */
export function statAt(directory: number, name: string): FileStatus {
  const flags = name === '' ? atEmptyPath : atSymlinkNoFollow
  check(sys.statx(directory, cString(name), flags, statxBasicStats, statBuffer), 'stat', name)
  return {
    nlink: statBuffer.readUInt32LE(16),
    uid: statBuffer.readUInt32LE(20),
    gid: statBuffer.readUInt32LE(24),
    mode: statBuffer.readUInt16LE(28),
    ino: Number(statBuffer.readBigUInt64LE(32)),
    size: Number(statBuffer.readBigUInt64LE(40)),
    blocks: Number(statBuffer.readBigUInt64LE(48)),
    ctimeSeconds: Number(statBuffer.readBigInt64LE(96)),
    ctimeNanoseconds: statBuffer.readUInt32LE(104),
    mtimeSeconds: Number(statBuffer.readBigInt64LE(112)),
    mtimeNanoseconds: statBuffer.readUInt32LE(120),
    major: statBuffer.readUInt32LE(128),
    minor: statBuffer.readUInt32LE(132),
    deviceMajor: statBuffer.readUInt32LE(136),
    deviceMinor: statBuffer.readUInt32LE(140),
  }
}

/** The entries of an open directory, `.` and `..` apart, in the order of their names' bytes. */
export function listDirectory(fd: number): Listed[] {
  const entries: Listed[] = []
  check(sys.lseek(fd, 0, 0), 'lseek', '') // it may have been listed before
  for (;;) {
    const length = check(sys.getdents64(fd, listBuffer, listBuffer.length), 'getdents', '')
    if (length === 0) break
    for (let at = 0; at < length; at += listBuffer.readUInt16LE(at + 16)) {
      const name = listBuffer.toString('latin1', at + 19, listBuffer.indexOf(0, at + 19))
      if (name === '.' || name === '..') continue
      entries.push({ name, ino: Number(listBuffer.readBigUInt64LE(at)), type: listBuffer[at + 18] as number })
    }
  }
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
}

export function readLinkAt(directory: number, name: string): Buffer {
  const target = Buffer.alloc(4096)
  return target.subarray(0, check(sys.readlinkat(directory, cString(name), target, target.length), 'readlink', name))
}

export type Xattrs = [name: string, value: Buffer][]

/** Of an open file or directory, in the order of their names. */
export function xattrsOf(fd: number): Xattrs {
  const list = sys.flistxattr(fd, listBuffer, listBuffer.length) as number | bigint
  return xattrs(list, (name) => sys.fgetxattr(fd, cString(name), valueBuffer, valueBuffer.length) as number | bigint)
}

/** Of an entry that can't be opened: a link, a FIFO, a device. */
export function xattrsAt(directory: number, name: string): Xattrs {
  const path = Buffer.from(`/proc/self/fd/${directory}/${name}\0`, 'latin1')
  const list = sys.llistxattr(path, listBuffer, listBuffer.length) as number | bigint
  return xattrs(list, (key) => sys.lgetxattr(path, cString(key), valueBuffer, valueBuffer.length) as number | bigint)
}

function xattrs(listed: number | bigint, read: (name: string) => number | bigint): Xattrs {
  if (Number(listed) < 0 && koffi.errno() === notSupported) return []
  const length = check(listed, 'listxattr', '')
  if (length === 0) return []
  const names = listBuffer
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort()
  return names.map((name) => {
    const size = check(read(name), 'getxattr', name)
    return [name, Buffer.from(valueBuffer.subarray(0, size))]
  })
}

/** The ranges of an open file that hold data. */
export function dataExtents(fd: number, size: number): { start: number; end: number }[] {
  const extents: { start: number; end: number }[] = []
  for (let at = 0; at < size;) {
    const start = Number(sys.lseek(fd, at, seekData))
    if (start < 0) {
      if (koffi.errno() === noData) break
      throw new SystemCallFailed('lseek', '', koffi.errno())
    }
    at = check(sys.lseek(fd, start, seekHole), 'lseek', '')
    extents.push({ start, end: Math.min(at, size) })
  }
  return extents
}

/** Writes out what is dirty, so that every page is write-protected and the next store through a mapping moves the ctime. */
export function syncFileSystem(fd: number): void {
  check(sys.syncfs(fd), 'syncfs', '')
}
