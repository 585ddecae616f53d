import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'

const exec = promisify(execFile)

/**
 * Opens the cluster in `directory`. A new one is a copy of an empty cluster that `cacheDir` keeps for the next time: to
 * make one takes seconds, to copy it a fraction of that.
 */
export async function openCluster(directory: string, cacheDir: string | undefined): Promise<PGlite> {
  if (!(await exists(join(directory, 'PG_VERSION')))) {
    await mkdir(dirname(directory), { recursive: true, mode: 0o700 })
    await placeCopy(cacheDir ? await emptyCluster(cacheDir) : undefined, directory)
  }
  return PGlite.create(directory)
}

/** Whole or not at all: a copy that was cut off has another name. */
async function placeCopy(empty: string | undefined, directory: string): Promise<void> {
  if (!empty) return
  const scratch = await mkdtemp(`${directory}.new-`)
  try {
    // One process: a thousand small files take Node six times as long.
    await exec('cp', ['-a', empty, join(scratch, 'db')])
    await rm(directory, { recursive: true, force: true })
    await rename(join(scratch, 'db'), directory)
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function emptyCluster(cacheDir: string): Promise<string> {
  const parent = join(cacheDir, 'pglite')
  const cluster = join(parent, await pgliteVersion())
  if (await exists(cluster)) return cluster
  await mkdir(parent, { recursive: true })
  const scratch = await mkdtemp(join(parent, '.new-'))
  try {
    const pglite = await PGlite.create(join(scratch, 'db'))
    await pglite.close()
    await rename(join(scratch, 'db'), cluster).catch(async (error: unknown) => {
      if (!(await exists(cluster))) throw error // else another process was first
    })
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
  return cluster
}

async function pgliteVersion(): Promise<string> {
  const main = createRequire(import.meta.url).resolve('@electric-sql/pglite')
  const { version } = JSON.parse(await readFile(join(dirname(main), '..', 'package.json'), 'utf8')) as {
    version: string
  }
  return version
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
