import { execFile } from 'node:child_process'
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0', 'node')

/** The path of a Node.js binary of this version, from npm the first time. Not among the dependencies: 100 MB each. */
export async function nodeRelease(version: string): Promise<string> {
  const name = `node-linux-${process.arch}`
  const folder = join(cache, version)
  const binary = join(folder, 'node_modules', name, 'bin/node')
  const isThere = (): Promise<boolean> =>
    access(binary).then(
      () => true,
      () => false,
    )
  if (await isThere()) return binary
  await mkdir(cache, { recursive: true })
  const scratch = await mkdtemp(join(cache, '.install-'))
  try {
    await exec('npm', ['install', '--prefix', scratch, '--no-audit', '--no-fund', `${name}@${version}`])
    await rename(scratch, folder).catch(async (error: unknown) => {
      if (!(await isThere())) throw error // else another test was first
    })
    return binary
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}
