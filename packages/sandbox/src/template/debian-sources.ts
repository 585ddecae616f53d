import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { Vm0Error } from '@vm0/contract'

const run = promisify(execFile)
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'

/**
 * How this host reaches Debian, as arguments of mmdebstrap: its proxy and certificate settings as `--aptopt`, the suite,
 * the target and the mirrors of that suite. A host that has no such mirror (Ubuntu, another release) uses mmdebstrap's own default.
 */
export async function bootstrapArguments(suite: string, target: string): Promise<string[]> {
  if (!existsSync(keyring)) {
    throw new Vm0Error(
      'TEMPLATE_BUILD_FAILED',
      `${keyring} is missing: packages from Debian can't be verified without it.`,
      {
        hint: 'Install the package debian-archive-keyring.',
        retryable: false,
      },
    )
  }
  const [uris, settings] = await Promise.all([
    aptOutput('apt-get', ['--print-uris', 'update']),
    aptOutput('apt-config', ['dump', 'Acquire']),
  ])
  return [...aptOptions(settings), `--keyring=${keyring}`, suite, target, ...mirrorLines(uris, suite)]
}

/** Lines for mmdebstrap from what `apt-get --print-uris update` says; empty where the host has no mirror of the suite. */
export function mirrorLines(printedUris: string, suite: string): string[] {
  const found = new Set<string>()
  for (const [, uri, release] of printedUris.matchAll(/^'(\S+?)\/dists\/(\S+)\/InRelease' /gm)) {
    if (release === suite || release === `${suite}-updates` || release === `${suite}-security`) {
      found.add(`deb [signed-by=${keyring}] ${decodeURI(uri!)} ${release} main`)
    }
  }
  const hasSuite = [...found].some((line) => line.endsWith(` ${suite} main`))
  return hasSuite ? [...found] : []
}

/** The settings that decide whether and how a mirror is reached; nothing of what is fetched. */
export function aptOptions(dumped: string): string[] {
  const wanted =
    /^Acquire::(?:https?::(?:\S+::)?(?:Proxy|Proxy-Auto-Detect|CAInfo|Verify-Peer|Verify-Host|SslCert|SslKey|Timeout)|(?:Check-Valid-Until|Check-Date|Retries|ForceIPv[46])) ".+";$/i
  return dumped
    .split('\n')
    .filter((line) => wanted.test(line))
    .map((line) => `--aptopt=${line}`)
}

async function aptOutput(command: string, args: string[]): Promise<string> {
  try {
    return (await run(command, args, { maxBuffer: 8 * 1024 * 1024, env: { ...process.env, LC_ALL: 'C' } })).stdout
  } catch (cause) {
    throw new Vm0Error(
      'TEMPLATE_BUILD_FAILED',
      `${command} ${args.join(' ')} failed: expected a Debian or Ubuntu host with apt.`,
      { cause },
    )
  }
}
