import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Vm0Error } from '@vm0/contract'
import type { AgentRelease, ReleaseStore } from './driver.js'

const exec = promisify(execFile)
const arch = process.arch === 'arm64' ? 'arm64' : 'x64'
/** npm package that carries a framework's binary, and the binary's name in it. */
const packages: Record<string, { name: string; binary: string }> = {
  'claude-code': { name: `@anthropic-ai/claude-code-linux-${arch}`, binary: 'claude' },
}

/** Agent releases side by side in `<directory>/<framework>/<version>/`, immutable once there. */
export function openReleaseStore(directory: string): ReleaseStore {
  const list = async (framework: string): Promise<AgentRelease[]> => {
    const versions = (await readdir(join(directory, framework)).catch(() => [])).filter((name) =>
      /^\d+\.\d+\.\d+/.test(name),
    )
    return versions
      .toSorted(byVersion)
      .map((version) => ({ framework, version, directory: join(directory, framework, version) }))
  }
  return {
    list,
    all: async () => (await Promise.all(Object.keys(packages).map(list))).flat(),
    async newest(framework) {
      const release = (await list(framework)).at(-1)
      if (!release)
        throw new Vm0Error('AGENT_RELEASE_MISSING', `no release of ${framework} is installed in ${directory}`)
      return release
    },
    async install(framework, version, onProgress = () => undefined) {
      const source = packages[framework]
      if (!source)
        throw new Vm0Error(
          'UNKNOWN_FRAMEWORK',
          `framework ${framework} is unknown; expected one of ${Object.keys(packages).join(', ')}`,
        )
      if (!/^\d+\.\d+\.\d+$/.test(version))
        throw new Vm0Error('INVALID_REQUEST', `version ${version}: expected an exact one such as 2.1.330`)
      const release = { framework, version, directory: join(directory, framework, version) }
      if ((await list(framework)).some((installed) => installed.version === version)) return release
      await mkdir(join(directory, framework), { recursive: true })
      const scratch = await mkdtemp(join(directory, framework, '.install-'))
      try {
        onProgress(`installing ${framework} ${version} from the npm registry`)
        // npm checks the download against the registry's integrity value.
        const { stdout } = await exec(
          'npm',
          ['pack', `${source.name}@${version}`, '--json', '--pack-destination', scratch],
          { maxBuffer: 16 * 1024 ** 2 },
        )
        const [packed] = JSON.parse(stdout) as { filename: string; integrity: string }[]
        const archive = (await readdir(scratch)).find((name) => name.endsWith('.tgz'))
        if (!packed || !archive) throw new Error('npm pack gave no archive')
        await exec('tar', ['-xzf', join(scratch, archive), '-C', scratch, '--no-same-owner'])
        const root = join(scratch, 'package')
        await chmod(join(root, source.binary), 0o755)
        await writeFile(
          join(root, 'release.json'),
          `${JSON.stringify({ package: source.name, version, integrity: packed.integrity })}\n`,
        )
        await rename(root, release.directory).catch(async (error: NodeJS.ErrnoException) => {
          if (!(await readFile(join(release.directory, 'release.json')).catch(() => undefined))) throw error // else another process was first
        })
        return release
      } catch (cause) {
        const said = String((cause as { stderr?: string }).stderr ?? (cause as Error).message)
        throw new Vm0Error(
          said.includes('EINTEGRITY') ? 'AGENT_RELEASE_CORRUPT' : 'AGENT_RELEASE_MISSING',
          `${framework} ${version} could not be installed: ${said.trim().slice(-1000)}`,
          { cause },
        )
      } finally {
        await rm(scratch, { recursive: true, force: true })
      }
    },
  }
}

function byVersion(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
