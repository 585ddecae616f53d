import { Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'

const answerMs = 2_000

/**
 * The addresses of a host name: of the hosts file, else of the name servers. It doesn't ask by getaddrinfo, which keeps one
 * of the process's few threads for as long as a name server lets it wait: those have the files of runs to write.
 */
export async function addressesOf(host: string, signal: AbortSignal): Promise<string[]> {
  const literal = host.startsWith('[') ? host.slice(1, -1) : host
  if (isIP(literal)) return [literal]
  const name = host.replace(/\.$/, '').toLowerCase()
  const known = hostsOf(await readFile('/etc/hosts', 'utf8').catch(() => '')).get(name)
  if (known) return known
  // By its own standard never anything else.
  if (name === 'localhost' || name.endsWith('.localhost')) return ['127.0.0.1', '::1']
  const resolver = new Resolver({ timeout: answerMs, tries: 2 })
  const cancel = (): void => resolver.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

/** Of /etc/hosts: addresses by name. */
export function hostsOf(text: string): Map<string, string[]> {
  const hosts = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (!isIP(address)) continue
    for (const name of names) hosts.set(name.toLowerCase(), [...(hosts.get(name.toLowerCase()) ?? []), address])
  }
  return hosts
}
