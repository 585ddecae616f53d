// Packs what is published: dist-packages/vm0-VERSION.tgz and dist-packages/vm0-platform-VERSION.tgz.
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { stagePlatform, stageSdk } from './pack/stage.mjs'

const exec = promisify(execFile)
process.chdir(join(import.meta.dirname, '..'))
const target = resolve('dist-packages')

await exec('node_modules/.bin/tsc', ['-b'])
await rm(target, { recursive: true, force: true })
await mkdir(target)
for (const stage of [stageSdk, stagePlatform]) {
  const folder = await mkdtemp(join(tmpdir(), 'vm0-pack-'))
  try {
    await stage(folder)
    const { stdout } = await exec('npm', ['pack', '--json', '--pack-destination', target], { cwd: folder })
    const [{ filename, size, unpackedSize, entryCount }] = JSON.parse(stdout)
    const kB = (bytes) => `${Math.ceil(bytes / 1000)} kB`
    console.log(`dist-packages/${filename}  ${kB(size)}, ${kB(unpackedSize)} unpacked, ${entryCount} files`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
