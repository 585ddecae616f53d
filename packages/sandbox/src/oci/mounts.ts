import { open, statfs, type FileHandle } from 'node:fs/promises'
import koffi from 'koffi'
import type { ImageFiles } from '../engine.js'

// Numbers of the kernel's uapi: linux/mount.h and linux/loop.h.
const flags = { readOnly: 1, noSuid: 2, noDev: 4, noAtime: 1024 }
const detach = 2
const loopGetFree = 0x4c82
const loopConfigure = 0x4c0a
const loopConfigBytes = 304
const loopFlagsOffset = 60
const loopReadOnly = 1
const loopAutoclear = 4
const busy = 16
/** Where the kernel has no erofs without a block device, which it has from Linux 6.12 on. */
const needsBlockDevice = 15
/** statfs(2): f_type of overlayfs. */
const overlayType = 0x794c7630

const libc = koffi.load('libc.so.6')
const mountCall = libc.func('int mount(str source, str target, str type, unsigned long flags, str data)')
const unmountCall = libc.func('int umount2(str target, int flags)')
const makeFifoCall = libc.func('int mkfifo(str path, unsigned int mode)')
const ioctl = libc.func('int ioctl(int fd, unsigned long request, ...)')

export interface Mount {
  source: string
  target: string
  type: 'ext4' | 'erofs' | 'overlay'
  flags?: readonly (keyof typeof flags)[]
  /** The file system's own options. */
  data?: string
}

/** mount(2), on a thread of its own: it may read a disk or wait for the kernel. */
export async function mount(what: Mount): Promise<void> {
  const errno = await tryMount(what)
  if (errno !== 0) throw new Error(`mount of ${what.type} ${what.source} at ${what.target}: errno ${errno}`)
}

async function tryMount({ source, target, type, flags: names = [], data = '' }: Mount): Promise<number> {
  const bits = names.reduce((all, name) => all | flags[name], 0)
  const args = [source, target, type, bits, data]
  if ((await inThread(mountCall, args)) === 0) return 0
  // The number of an error stays in the thread that had it: asked again here, it is the same.
  return mountCall(...args) === 0 ? 0 : koffi.errno()
}

/**
 * Mounts an erofs image, read-only. Straight from its file where the kernel can: that takes a tenth of a millisecond and reads
 * what the page cache has of the file, where a loop device takes ten and reads all of it again through a thread of its own.
 * A file on overlayfs needs the device: the overlay of a sandbox would be one file system too many on top of each other.
 */
export async function mountImage({ path, devices }: ImageFiles, target: string): Promise<void> {
  const mounted = { target, type: 'erofs', flags: ['readOnly', 'noDev'] } as const
  if ((await statfs(path)).type !== overlayType) {
    const errno = await withFiles(devices, (data) => tryMount({ ...mounted, source: path, data }))
    if (errno === 0) return
    if (errno !== needsBlockDevice) throw new Error(`mount of erofs ${path} at ${target}: errno ${errno}`)
  }
  await withLoopDevices([path, ...devices], true, ([source, ...others]) =>
    mount({ ...mounted, source: source as string, data: asOptions(others) }),
  )
}

const asOptions = (devices: readonly string[]): string => devices.map((device) => `device=${device}`).join(',')

/** Names files by descriptors while they are mounted: a path may have what separates options in it. */
async function withFiles<T>(paths: readonly string[], use: (options: string) => Promise<T>): Promise<T> {
  const files: FileHandle[] = []
  try {
    for (const path of paths) files.push(await open(path, 'r'))
    return await use(asOptions(files.map(({ fd }) => `/proc/self/fd/${fd}`)))
  } finally {
    await Promise.all(files.map((file) => file.close()))
  }
}

/** Takes the mount away; whoever still uses it keeps it until then. Nothing is said where there is none. */
export async function unmount(target: string): Promise<void> {
  await inThread(unmountCall, [target, detach])
}

export function makeFifo(path: string): void {
  if (makeFifoCall(path, 0o600) !== 0) throw new Error(`mkfifo ${path}: errno ${koffi.errno()}`)
}

/** Mounts the file system in a file. Its loop device goes with the last mount of it. */
export async function mountFile(image: string, mounted: Omit<Mount, 'source'>): Promise<void> {
  const isReadOnly = mounted.flags?.includes('readOnly') ?? false
  await withLoopDevices([image], isReadOnly, ([source]) => mount({ ...mounted, source: source as string }))
}

/** Loop devices of files, in their order; each goes when nobody uses it any more. */
async function withLoopDevices(
  files: readonly string[],
  isReadOnly: boolean,
  use: (devices: string[]) => Promise<void>,
): Promise<void> {
  const control = await open('/dev/loop-control', 'r+')
  const devices: FileHandle[] = []
  try {
    const names: string[] = []
    for (const file of files) {
      const { name, device } = await attachLoopDevice(control.fd, file, isReadOnly)
      devices.push(device)
      names.push(name)
    }
    await use(names)
  } finally {
    await Promise.all([control, ...devices].map((each) => each.close()))
  }
}

async function attachLoopDevice(
  control: number,
  path: string,
  isReadOnly: boolean,
): Promise<{ name: string; device: FileHandle }> {
  const file = await open(path, isReadOnly ? 'r' : 'r+')
  try {
    for (;;) {
      const number = ioctl(control, loopGetFree)
      if (number < 0) throw new Error(`a loop device for ${path}: errno ${koffi.errno()}`)
      const name = `/dev/loop${number}`
      const device = await open(name, 'r+')
      const config = Buffer.alloc(loopConfigBytes)
      config.writeUInt32LE(file.fd, 0)
      config.writeUInt32LE(loopAutoclear | (isReadOnly ? loopReadOnly : 0), loopFlagsOffset)
      if (ioctl(device.fd, loopConfigure, 'void *', config) === 0) return { name, device }
      const errno = koffi.errno()
      await device.close()
      // Somebody else has taken it between the two calls.
      if (errno !== busy) throw new Error(`loop device ${number} for ${path}: errno ${errno}`)
    }
  } finally {
    await file.close()
  }
}

type Call = typeof mountCall

function inThread(call: Call, args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: Error | null, result: number) => (error ? reject(error) : resolve(result)))
  })
}
