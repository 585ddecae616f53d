import { chown, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import koffi from 'koffi'
import { run } from '@vm0/process'
import { mountFile, unmount } from './mounts.js'

const libc = koffi.load('libc.so.6')
const lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)')
/** lseek(2): where what is written in a file goes on from here, and where it ends. */
const seek = { data: 3, hole: 4 }

interface Extent {
  position: number
  bytes: Buffer
}

/** What mkfs writes into a file of each size: 200 KiB or so. Sizes are anybody's choice: the last few are kept. */
const maxFormats = 8
const formats = new Map<number, Promise<Extent[]>>()

/**
 * The writable part of a sandbox: a file system of its own in a sparse file, so that it can't grow past its cap. mkfs makes the
 * first of each size; the others are written as that one was, which takes a millisecond for its ten. So they have one UUID.
 */
export async function makeUpper(file: string, mountPoint: string, sizeMiB: number, owner: number): Promise<void> {
  let format = formats.get(sizeMiB)
  if (format) {
    const extents = await format
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.truncate(sizeMiB * 1024 ** 2)
      await Promise.all(extents.map(({ position, bytes }) => handle.write(bytes, 0, bytes.length, position)))
    } finally {
      await handle.close()
    }
  } else {
    format = makeFormat(file, sizeMiB)
    formats.set(sizeMiB, format)
    if (formats.size > maxFormats) formats.delete(formats.keys().next().value as number)
    format.catch(() => formats.delete(sizeMiB))
    await format
  }
  await mkdir(mountPoint, { recursive: true })
  await mountFile(file, { target: mountPoint, type: 'ext4', flags: ['noDev', 'noSuid', 'noAtime'], data: 'nobarrier' })
  for (const name of ['upper', 'work']) {
    await mkdir(join(mountPoint, name), { mode: 0o755 })
    await chown(join(mountPoint, name), owner, owner)
  }
}

async function makeFormat(file: string, sizeMiB: number): Promise<Extent[]> {
  const handle = await open(file, 'wx+', 0o600)
  try {
    await handle.truncate(sizeMiB * 1024 ** 2)
    // No journal and no barriers: after a crash the upper is thrown away, the last checkpoint counts. It never grows: room to
    // describe more blocks would be 4 MiB to write.
    const features = ['-O', '^has_journal,^resize_inode', '-E', 'lazy_itable_init=1,nodiscard', '-m', '0']
    await run('mkfs.ext4', ['-q', '-F', ...features, file])
    const extents: Extent[] = []
    for (let end = 0; ;) {
      const position = Number(lseek(handle.fd, end, seek.data))
      if (position < 0) return extents
      end = Number(lseek(handle.fd, position, seek.hole))
      const bytes = Buffer.alloc(end - position)
      await handle.read(bytes, 0, bytes.length, position)
      extents.push({ position, bytes })
    }
  } finally {
    await handle.close()
  }
}

export async function removeUpper(file: string, mountPoint: string): Promise<void> {
  await unmount(mountPoint)
  await rm(file, { force: true })
}
