import { execFile } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { extraCertificates } from './certificates.js'

const exec = promisify(execFile)

/** What of the host's network settings a sandbox shares: name servers, proxies and the registries behind private addresses. */
export interface HostAccess {
  nameServers: string[]
  /** Addresses and ports that stay reachable though they are private: the proxies and registries that the host uses, with their names. */
  allowed: { address: string; port: number; host: string }[]
  /** Environment for every process in a sandbox. */
  environment: Record<string, string>
  /** What programs that use Node are to trust beyond what they know (PEM); may be empty. */
  extraCertificates: string
}

export async function readHostAccess(): Promise<HostAccess> {
  const [nameServers, npmRegistry, aptHosts, certificates] = await Promise.all([
    readNameServers(),
    npmRegistryUrl(),
    aptUrls(),
    extraCertificates(),
  ])
  const environment: Record<string, string> = {}
  const urls = [npmRegistry, ...aptHosts]
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy']) {
    const value = process.env[name] ?? process.env[name.toUpperCase()]
    if (!value) continue
    environment[name] = value
    environment[name.toUpperCase()] = value
    if (name !== 'no_proxy') urls.push(value)
  }
  if (npmRegistry && !/^https:\/\/registry\.npmjs\.org\/?$/.test(npmRegistry))
    environment.npm_config_registry = withoutUser(npmRegistry)
  const allowed = (await Promise.all(urls.map(resolve))).flat()
  return { nameServers, allowed, environment, extraCertificates: certificates }
}

async function readNameServers(): Promise<string[]> {
  for (const path of ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf']) {
    const text = await readFile(path, 'utf8').catch(() => '')
    const found = [...text.matchAll(/^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$/gm)]
      .map((match) => match[1] as string)
      .filter((address) => !address.startsWith('127.'))
    if (found.length > 0) return found
  }
  return []
}

async function npmRegistryUrl(): Promise<string> {
  return (
    await exec('npm', ['config', 'get', 'registry'], { timeout: 10_000 }).catch(() => ({ stdout: '' }))
  ).stdout.trim()
}

async function aptUrls(): Promise<string[]> {
  const { stdout } = await exec('apt-get', ['--print-uris', 'update'], { timeout: 10_000 }).catch(() => ({
    stdout: '',
  }))
  return [...new Set([...stdout.matchAll(/^'(https?:\/\/[^/']+)/gm)].map((match) => match[1] as string))]
}

async function resolve(text: string): Promise<HostAccess['allowed']> {
  try {
    const url = new URL(text)
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
    const ports = url.port ? [port] : [80, 443]
    const addresses = await lookup(url.hostname, { all: true, family: 4 })
    return addresses
      .filter(({ address }) => !address.startsWith('127.'))
      .flatMap(({ address }) => ports.map((each) => ({ address, port: each, host: url.hostname })))
  } catch {
    return []
  }
}

function withoutUser(text: string): string {
  const url = new URL(text)
  url.username = ''
  url.password = ''
  return url.href
}
