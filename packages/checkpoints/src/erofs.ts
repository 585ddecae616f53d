import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** The image has no date or id of its own: the same tree gives the same digest. Later times than this one would be cut to it. */
const year2100 = '4102444800'

/** Packs a tree into an erofs image: owners, modes, times, xattrs, links, devices (whiteouts) and holes as they are. */
export async function packErofs(directory: string, image: string): Promise<void> {
  await exec(
    'mkfs.erofs',
    ['--quiet', '-Eforce-inode-extended', '-U', '00000000-0000-0000-0000-000000000000', image, directory],
    { env: { ...process.env, SOURCE_DATE_EPOCH: year2100 }, maxBuffer: 1024 ** 2 },
  )
}

export async function countEntries(directory: string): Promise<number> {
  const { stdout } = await exec('find', [directory, '-mindepth', '1', '!', '-type', 'd', '-printf', '.'], {
    maxBuffer: 64 * 1024 ** 2,
  })
  return stdout.length
}

/** `sha256:` and the hex digest of a file. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 ** 2 })) hash.update(chunk as Buffer)
  return `sha256:${hash.digest('hex')}`
}
