import { readFile } from 'node:fs/promises'
import { rootCertificates } from 'node:tls'

/** Of the host and, read-only, of every sandbox: what programs trust that use OpenSSL. */
export const trustedCertificates = '/etc/ssl/certs/ca-certificates.crt'

/** In the shown directory: what NODE_EXTRA_CA_CERTS names. */
export const extraCertificatesFile = 'extra-certificates.pem'

/**
 * What of a bundle (PEM) Node doesn't know by itself: a company's own authorities, and a few that Mozilla has given up. Node and
 * Bun read what NODE_EXTRA_CA_CERTS names at every start, an agent for 20 ms when it is all of a Debian system's bundle.
 */
export async function extraCertificates(bundle = trustedCertificates): Promise<string> {
  const text = await readFile(bundle, 'utf8').catch(() => '')
  const known = new Set(rootCertificates.map(bodyOf))
  const all = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  return all.filter((certificate) => !known.has(bodyOf(certificate))).join('\n')
}

const bodyOf = (certificate: string): string => certificate.replace(/-----[A-Z ]+-----|\s/g, '')
