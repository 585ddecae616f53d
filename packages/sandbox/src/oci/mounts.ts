import { open, statfs } from 'node:fs/promises'
import koffi from 'koffi'

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
export async function mountImage(image: string, target: string): Promise<void> {
  const mounted = { target, type: 'erofs', flags: ['readOnly', 'noDev'] } as const
  if ((await statfs(image)).type !== overlayType) {
    const errno = await tryMount({ ...mounted, source: image })
    if (errno === 0) return
    if (errno !== needsBlockDevice) throw new Error(`mount of erofs ${image} at ${target}: errno ${errno}`)
  }
  await mountFile(image, mounted)
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
  const file = await open(image, isReadOnly ? 'r' : 'r+')
  const control = await open('/dev/loop-control', 'r+')
  try {
    for (;;) {
      const number = ioctl(control.fd, loopGetFree)
      if (number < 0) throw new Error(`a loop device for ${image}: errno ${koffi.errno()}`)
      const device = await open(`/dev/loop${number}`, 'r+')
      try {
        const config = Buffer.alloc(loopConfigBytes)
        config.writeUInt32LE(file.fd, 0)
        config.writeUInt32LE(loopAutoclear | (isReadOnly ? loopReadOnly : 0), loopFlagsOffset)
        if (ioctl(device.fd, loopConfigure, 'void *', config) === 0) {
          await mount({ ...mounted, source: `/dev/loop${number}` })
          return
        }
        // Somebody else has taken it between the two calls.
        if (koffi.errno() !== busy) throw new Error(`loop device ${number} for ${image}: errno ${koffi.errno()}`)
      } finally {
        await device.close()
      }
    }
  } finally {
    await Promise.all([file.close(), control.close()])
  }
}

type Call = typeof mountCall

function inThread(call: Call, args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: Error | null, result: number) => (error ? reject(error) : resolve(result)))
  })
}
