import { chown, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '@vm0/process'
import { mountFile, unmount } from './mounts.js'

/** The writable part of a sandbox: a file system of its own in a sparse file, so that it can't grow past its cap. */
export async function makeUpper(file: string, mountPoint: string, sizeMiB: number, owner: number): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  await handle.truncate(sizeMiB * 1024 ** 2)
  await handle.close()
  // No journal and no barriers: after a crash the upper is thrown away, the last checkpoint counts. It never grows: room to
  // describe more blocks would be 4 MiB to write, and most of the time that this takes.
  await run('mkfs.ext4', [
    '-q',
    '-F',
    '-O',
    '^has_journal,^resize_inode',
    '-E',
    'lazy_itable_init=1,nodiscard',
    '-m',
    '0',
    file,
  ])
  await mkdir(mountPoint, { recursive: true })
  await mountFile(file, { target: mountPoint, type: 'ext4', flags: ['noDev', 'noSuid', 'noAtime'], data: 'nobarrier' })
  for (const name of ['upper', 'work']) {
    await mkdir(join(mountPoint, name), { mode: 0o755 })
    await chown(join(mountPoint, name), owner, owner)
  }
}

export async function removeUpper(file: string, mountPoint: string): Promise<void> {
  await unmount(mountPoint)
  await rm(file, { force: true })
}
