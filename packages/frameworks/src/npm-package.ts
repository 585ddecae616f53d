import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Vm0Error } from '@vm0/contract'

const exec = promisify(execFile)

/**
 * Downloads one version of a package from the npm registry and unpacks it under `scratch`; gives its folder and the integrity
 * value that npm has checked the download against. Rejects with AGENT_RELEASE_MISSING or AGENT_RELEASE_CORRUPT.
 */
export async function fetchPackage(
  name: string,
  version: string,
  scratch: string,
): Promise<{ root: string; integrity: string }> {
  const integrity = await download(`${name}@${version}`, scratch)
  const archive = (await readdir(scratch)).find((file) => file.endsWith('.tgz'))
  if (!archive) throw new Vm0Error('AGENT_RELEASE_MISSING', `npm gave no archive of ${name}@${version}`)
  await exec('tar', ['-xzf', join(scratch, archive), '-C', scratch, '--no-same-owner']).catch((cause: unknown) => {
    throw corrupt(`the archive of ${name}@${version} can't be unpacked: ${lastWords(cause)}`, cause)
  })
  const root = join(scratch, 'package')
  const inside = await readFile(join(root, 'package.json'), 'utf8').then(
    (text) => JSON.parse(text) as { name?: unknown; version?: unknown },
    (cause: unknown) => {
      throw corrupt(`the archive of ${name}@${version} holds no package`, cause)
    },
  )
  if (inside.name !== name || inside.version !== version)
    throw corrupt(`expected ${name}@${version}; the archive holds ${String(inside.name)}@${String(inside.version)}`)
  return { root, integrity }
}

async function download(spec: string, scratch: string): Promise<string> {
  try {
    // In a folder of its own: no project's settings or workspaces have a say. It must tell why it failed, also below a
    // `npm --silent`, which hands its silence down.
    const { stdout } = await exec(
      'npm',
      ['pack', spec, '--json', '--loglevel=error', '--ignore-scripts', '--pack-destination', scratch],
      {
        cwd: scratch,
        maxBuffer: 16 * 1024 ** 2,
      },
    )
    const [packed] = JSON.parse(stdout) as { integrity: string }[]
    return packed?.integrity ?? ''
  } catch (cause) {
    const said = lastWords(cause)
    // Whichever npm meets first: the checksum, or an archive that can't be read.
    if (/EINTEGRITY|TAR_BAD_ARCHIVE|TAR_ENTRY|\bZ_[A-Z]+_ERROR|zlib:/.test(said))
      throw corrupt(`${spec} doesn't match its checksum: ${said}`, cause)
    throw new Vm0Error('AGENT_RELEASE_MISSING', `${spec} could not be downloaded: ${said}`, { cause })
  }
}

function corrupt(message: string, cause?: unknown): Vm0Error {
  return new Vm0Error('AGENT_RELEASE_CORRUPT', message, { cause })
}

function lastWords(thrown: unknown): string {
  const { stderr, message } = thrown as { stderr?: string; message?: string }
  return String(stderr || message)
    .split('\n')
    .filter((line) => !/A complete log of this run|^\s*$/.test(line))
    .join('\n')
    .slice(-1000)
}
