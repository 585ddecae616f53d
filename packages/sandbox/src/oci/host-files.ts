import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { shownDirectory } from '../engine.js'
import { extraCertificatesFile, trustedCertificates } from './certificates.js'
import type { HostAccess } from './host-access.js'

/** The folder of the host that is seen inside as `shownDirectory`. */
export const shownIn = (runDirectory: string): string => join(runDirectory, 'shown')

/** Writes what a sandbox needs to know of the host's network, and gives the variables that tell its programs. */
export async function writeHostFiles(
  directory: string,
  access: HostAccess,
): Promise<{ resolvConf: string; shown: string; environment: Record<string, string> }> {
  const resolvConf = join(directory, 'resolv.conf')
  const servers = access.nameServers.map((address) => `nameserver ${address}\n`)
  await writeFile(resolvConf, servers.join(''), { mode: 0o644 })
  const shown = shownIn(directory)
  await mkdir(shown, { mode: 0o755 })
  const { extraCertificates } = access
  if (extraCertificates) await writeFile(join(shown, extraCertificatesFile), `${extraCertificates}\n`, { mode: 0o644 })
  const environment = {
    ...access.environment,
    // Node warns of a file without certificates.
    ...(extraCertificates ? { NODE_EXTRA_CA_CERTS: `${shownDirectory}/${extraCertificatesFile}` } : {}),
    SSL_CERT_FILE: trustedCertificates,
  }
  return { resolvConf, shown, environment }
}
