import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Vm0Error } from '@vm0/contract'
import type { AgentRelease, ReleaseStore } from './driver.js'
import { fetchPackage } from './npm-package.js'

const exec = promisify(execFile)
const arch = process.arch === 'arm64' ? 'arm64' : 'x64'
/** npm package that carries a framework's binary, and the binary's name in it. */
const packages = new Map([['claude-code', { name: `@anthropic-ai/claude-code-linux-${arch}`, binary: 'claude' }]])
const exactVersion = /^\d+\.\d+\.\d+$/

/**
 * Agent releases side by side in `<directory>/<framework>/<version>/`, immutable once there. A release is made in a folder of
 * its own and gets its name when it is whole and on the disk; `release.json` is written last.
 */
export function openReleaseStore(directory: string): ReleaseStore {
  const installing = new Map<string, Promise<AgentRelease>>()
  const releaseOf = (framework: string, version: string): AgentRelease => ({
    framework,
    version,
    directory: join(directory, framework, version),
  })

  async function list(framework: string): Promise<AgentRelease[]> {
    const names = await readdir(join(directory, framework)).catch(() => [])
    const releases = names.filter((name) => exactVersion.test(name)).map((version) => releaseOf(framework, version))
    const whole = await Promise.all(releases.map(isWhole))
    return releases.filter((_, index) => whole[index]).toSorted((a, b) => compareVersions(a.version, b.version))
  }

  async function make(release: AgentRelease, onProgress: (message: string) => void): Promise<AgentRelease> {
    if (await isWhole(release)) return release
    const source = packages.get(release.framework)
    if (!source)
      throw new Vm0Error(
        'UNKNOWN_FRAMEWORK',
        `framework ${release.framework} is unknown; expected one of ${[...packages.keys()].join(', ')}`,
      )
    const folder = join(directory, release.framework)
    await mkdir(folder, { recursive: true })
    await removeAbandoned(folder)
    const scratch = await mkdtemp(join(folder, `.install-${process.pid}-`))
    try {
      onProgress(`installing ${release.framework} ${release.version} from the npm registry`)
      const { root, integrity } = await fetchPackage(source.name, release.version, scratch)
      await chmod(join(root, source.binary), 0o755).catch((cause: unknown) => {
        throw new Vm0Error('AGENT_RELEASE_CORRUPT', `${source.name} holds no program named ${source.binary}`, { cause })
      })
      const record = { package: source.name, version: release.version, integrity }
      await writeFile(join(root, 'release.json'), `${JSON.stringify(record)}\n`)
      await exec('sync', ['-f', root])
      await place(root, release, scratch)
      return release
    } finally {
      await rm(scratch, { recursive: true, force: true })
    }
  }

  return {
    list,
    all: async () => (await Promise.all([...packages.keys()].map(list))).flat(),
    async newest(framework) {
      const release = (await list(framework)).at(-1)
      if (!release)
        throw new Vm0Error('AGENT_RELEASE_MISSING', `no release of ${framework} is installed in ${directory}`)
      return release
    },
    async install(framework, version, onProgress = () => undefined) {
      if (!exactVersion.test(version))
        throw new Vm0Error('INVALID_REQUEST', `version ${version}: expected an exact one such as 2.1.330`)
      const release = releaseOf(framework, version)
      const running = installing.get(release.directory)
      if (running) return running
      const made = make(release, onProgress).finally(() => installing.delete(release.directory))
      installing.set(release.directory, made)
      return made
    },
  }
}

async function isWhole(release: AgentRelease): Promise<boolean> {
  const text = await readFile(join(release.directory, 'release.json'), 'utf8').catch(() => '')
  return text.includes(`"version":"${release.version}"`)
}

/** Gives the folder the release's name. Another process may have been first; what is there and isn't whole goes. */
async function place(root: string, release: AgentRelease, scratch: string): Promise<void> {
  for (;;) {
    try {
      await rename(root, release.directory)
      return
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      if (await isWhole(release)) return
      await rename(release.directory, join(scratch, 'broken'))
    }
  }
}

/** What installs left whose process was killed in the middle. */
async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = /^\.install-(\d+)-/.exec(name)?.[1]
    if (pid && !isAlive(Number(pid))) await rm(join(folder, name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** By numbers: 2.1.100 comes after 2.1.99. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]]
  return left.map((part, index) => part - (right[index] ?? 0)).find((difference) => difference !== 0) ?? 0
}
