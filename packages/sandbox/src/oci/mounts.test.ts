import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mount, mountImage, unmount } from './mounts.js'

let directory: string
/** An image, and another one that the contents of its files are in. */
let image: string
let blocks: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-mounts-'))
  await mkdir(join(directory, 'tree'))
  await writeFile(join(directory, 'tree/file'), 'of the image\n')
  image = join(directory, 'image')
  blocks = join(directory, 'blocks')
  const args = ['--quiet', '--chunksize=4096', `--blobdev=${blocks}`, image, join(directory, 'tree')]
  execFileSync('mkfs.erofs', args)
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** What is mounted at `target`, as the kernel tells it: its source, type and options. */
async function mountedAt(target: string) {
  const lines = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '))
  const [source, , type, options] = lines.find((line) => line[1] === target) ?? []
  return { source, type, options: options?.split(',') }
}

const [major = 0, minor = 0] = release().split('.').map(Number)
const mountsFiles = major > 6 || (major === 6 && minor >= 12)

test.each([
  ['is mounted from the file itself where the kernel can, else by a loop device', 'plain', mountsFiles],
  ['on overlayfs is mounted by a loop device: the overlay of a sandbox comes on top of it', 'overlay', false],
])('an image %s', async (_what, where, straight) => {
  const base = join(directory, where)
  const [target, upper, work, merged] = ['target', 'upper', 'work', 'merged'].map((name) => join(base, name)) as [
    string,
    string,
    string,
    string,
  ]
  for (const each of [target, upper, work, merged]) await mkdir(each, { recursive: true })
  if (where === 'overlay') {
    const data = `lowerdir=${join(directory, 'tree')},upperdir=${upper},workdir=${work}`
    await mount({ source: 'overlay', target: merged, type: 'overlay', data })
  }
  try {
    const file = join(merged, 'image')
    await writeFile(file, await readFile(image))
    // What separates the options of a mount may stand in a path.
    const device = join(merged, 'blocks,ro')
    await writeFile(device, await readFile(blocks))
    await mountImage({ path: file, devices: [device] }, target)
    const { source, type, options } = await mountedAt(target)
    expect([type, source === file]).toEqual(['erofs', straight])
    if (!straight) expect(source).toMatch(/^\/dev\/loop\d+$/)
    expect(options).toEqual(expect.arrayContaining(['ro', 'nodev']))
    expect(await readFile(join(target, 'file'), 'utf8')).toBe('of the image\n')
    // What an overlay stands on may be no deeper than this.
    const top = join(base, 'top')
    for (const name of ['upper2', 'work2', 'top']) await mkdir(join(base, name))
    const data = `lowerdir=${target},upperdir=${join(base, 'upper2')},workdir=${join(base, 'work2')}`
    await mount({ source: 'overlay', target: top, type: 'overlay', data })
    expect(await readFile(join(top, 'file'), 'utf8')).toBe('of the image\n')
    await unmount(top)
  } finally {
    await unmount(target)
    await unmount(merged)
  }
})

test('a file that is no image is told with the number of its error', async () => {
  const target = join(directory, 'none')
  await mkdir(target)
  await expect(mountImage({ path: join(directory, 'tree/file'), devices: [] }, target)).rejects.toThrow(
    /mount of erofs .*: errno 22/,
  )
})
