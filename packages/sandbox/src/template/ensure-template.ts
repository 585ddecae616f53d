import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import { requirePrograms } from '../host-programs.js'
import { lockFile } from './build-lock.js'
import { runBuild } from './build-process.js'
import { bootstrapArguments } from './debian-sources.js'
import { type Recipe, recipeHash, standardRecipe } from './recipe.js'
import { type TemplateIndex, imagePath, readIndex, writeIndex } from './template-index.js'

export interface TemplateOptions {
  /** The machine's cache; images are kept in `<cacheDir>/templates/<sha256>.erofs`. */
  cacheDir: string
  /** A line per step of a build; not called when the image is there already. */
  onProgress?: (message: string) => void
  /** Ends a build at once and leaves nothing of it; the call fails with the signal's reason. */
  signal?: AbortSignal
}

export interface Template {
  name: 'standard'
  /** `sha256:…` of the image. */
  digest: string
  /** Path of the erofs image. */
  image: string
}

const buildTimeoutMs = 15 * 60_000
const buildPrefix = '.build-'
const requiredTools = {
  mmdebstrap: 'mmdebstrap',
  'mkfs.erofs': 'erofs-utils',
  setpriv: 'util-linux',
  unshare: 'util-linux',
  flock: 'util-linux',
  npm: 'npm',
} as const

/** The standard template, if this machine has it for the present recipe. */
export async function findTemplate({ cacheDir }: Pick<TemplateOptions, 'cacheDir'>): Promise<Template | undefined> {
  const directory = join(cacheDir, 'templates')
  const present = await readIndex(directory, recipeHash(standardRecipe()))
  return present && asTemplate(directory, present)
}

/**
 * The standard template of this machine, built when the cache has none for the present recipe: about half a minute, 2 GiB
 * of disk meanwhile. Builders on one cache wait for each other. Images of earlier recipes stay: sessions pin their digests.
 * Fails with ROOT_REQUIRED, RUNTIME_MISSING or TEMPLATE_BUILD_FAILED.
 */
export async function ensureTemplate({
  cacheDir,
  onProgress = () => undefined,
  signal = new AbortController().signal,
}: TemplateOptions): Promise<Template> {
  const recipe = standardRecipe()
  const hash = recipeHash(recipe)
  const directory = join(cacheDir, 'templates')
  const present = await readIndex(directory, hash)
  if (present) return asTemplate(directory, present)
  await checkHost()
  await mkdir(directory, { recursive: true })
  const sayWaiting = (): void => onProgress('waiting for another build of the template')
  await using _lock = await lockFile(join(directory, '.lock'), sayWaiting, signal)
  const builtMeanwhile = await readIndex(directory, hash)
  if (builtMeanwhile) return asTemplate(directory, builtMeanwhile)
  await removeLeftovers(directory)
  const build = await mkdtemp(join(directory, buildPrefix))
  try {
    return asTemplate(directory, await buildInto(directory, build, recipe, hash, onProgress, signal))
  } catch (thrown) {
    if (thrown instanceof Vm0Error || thrown === signal.reason) throw thrown
    throw new Vm0Error(
      'TEMPLATE_BUILD_FAILED',
      `The standard template could not be stored in ${directory}: ${(thrown as Error).message}`,
      { cause: thrown },
    )
  } finally {
    await rm(build, { recursive: true, force: true })
  }
}

async function buildInto(
  directory: string,
  build: string,
  recipe: Recipe,
  hash: string,
  onProgress: (message: string) => void,
  signal: AbortSignal,
): Promise<TemplateIndex> {
  const startedAtMs = performance.now()
  // Package tools drop to a user of their own and must be able to reach the new root.
  await chmod(build, 0o755)
  onProgress(
    `building the standard template: Debian ${recipe.suite} with ${recipe.debianPackages.join(', ')}, ${recipe.nodePackage}, ${recipe.npmPackage}`,
  )
  await runBuild({
    args: await bootstrapArguments(recipe.suite, join(build, 'root')),
    env: {
      BUILD: build,
      PACKAGES: recipe.debianPackages.join(','),
      NODE_PACKAGE: recipe.nodePackage,
      NPM_PACKAGE: recipe.npmPackage,
      UUID: uuidOf(hash),
    },
    timeoutMs: buildTimeoutMs,
    onProgress,
    signal,
  })
  signal.throwIfAborted()
  const packed = join(build, 'image.erofs')
  const [digest, { size: sizeBytes }] = await Promise.all([sha256Of(packed), stat(packed)])
  await chmod(packed, 0o444)
  await rename(packed, imagePath(directory, digest))
  const index = { recipeHash: hash, digest, sizeBytes, builtAt: new Date().toISOString() }
  await writeIndex(directory, index, join(build, 'standard.json'))
  onProgress(
    `built the standard template in ${Math.round((performance.now() - startedAtMs) / 1000)} s: ${Math.round(sizeBytes / 1024 ** 2)} MiB, ${digest}`,
  )
  return index
}

/** Whoever holds the lock is the only builder, so every build folder that is there belongs to one that died. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.startsWith(buildPrefix)) await rm(join(directory, name), { recursive: true, force: true })
  }
}

async function checkHost(): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new Vm0Error('ROOT_REQUIRED', 'Building the standard template needs root: this process runs as another user.')
  await requirePrograms(requiredTools)
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 ** 2 })) hash.update(chunk as Buffer)
  return `sha256:${hash.digest('hex')}`
}

function uuidOf(hash: string): string {
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-${hash.slice(12, 16)}-${hash.slice(16, 20)}-${hash.slice(20, 32)}`
}

function asTemplate(directory: string, index: TemplateIndex): Template {
  return { name: 'standard', digest: index.digest, image: imagePath(directory, index.digest) }
}
