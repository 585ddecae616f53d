import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { compareVersions, openReleaseStore } from './releases.js'

const exec = promisify(execFile)
const packageName = `@anthropic-ai/claude-code-linux-${process.arch === 'arm64' ? 'arm64' : 'x64'}`

/** An npm registry on the loopback that serves small packages of the real name, through the real npm. */
let registry: Server
let url: string
let root: string
let store: string
let served: Record<string, Buffer>
let integrities: Record<string, string>
let downloads: string[]
let hanging: ServerResponse[]

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'vm0-releases-'))
  registry = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '')
    const version = /-(\d+\.\d+\.\d+)\.tgz$/.exec(path)?.[1]
    if (version) {
      downloads.push(version)
      if (version === '9.9.9') return void hanging.push(response)
      return void response.end(served[version])
    }
    if (path !== `/${packageName}`) return void response.writeHead(404).end('{}')
    const versions = Object.entries(integrities).map(([each, integrity]) => [
      each,
      { name: packageName, version: each, dist: { tarball: `${url}/x-${each}.tgz`, integrity } },
    ])
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ name: packageName, 'dist-tags': {}, versions: Object.fromEntries(versions) }))
  })
  registry.listen(0, '127.0.0.1')
  await once(registry, 'listening')
  url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}`
  vi.stubEnv('npm_config_registry', url)
  vi.stubEnv('npm_config_fetch_retries', '0')
})
afterAll(async () => {
  vi.unstubAllEnvs()
  registry.closeAllConnections()
  registry.close()
  await rm(root, { recursive: true, force: true })
})
beforeEach(async () => {
  store = await mkdtemp(join(root, 'store-'))
  vi.stubEnv('npm_config_cache', await mkdtemp(join(root, 'cache-')))
  served = {}
  integrities = {}
  downloads = []
  hanging = []
})

async function publish(version: string, { says = version, binary = 'claude' } = {}): Promise<void> {
  const folder = await mkdtemp(join(root, 'package-'))
  await mkdir(join(folder, 'package'))
  await writeFile(join(folder, 'package', 'package.json'), JSON.stringify({ name: packageName, version: says }))
  await writeFile(join(folder, 'package', binary), `#!/bin/sh\necho ${version}\n`, { mode: 0o644 })
  await exec('tar', ['-czf', join(folder, 'p.tgz'), '-C', folder, 'package'])
  served[version] = await readFile(join(folder, 'p.tgz'))
  integrities[version] = `sha512-${createHash('sha512').update(served[version]).digest('base64')}`
}

const here = (): Promise<string[]> => readdir(join(store, 'claude-code')).catch(() => [])

test('a version is installed once, runs, and is listed by its number with the others', async () => {
  const releases = openReleaseStore(store)
  await expect(releases.newest('claude-code')).rejects.toMatchObject({ code: 'AGENT_RELEASE_MISSING' })
  for (const version of ['2.1.99', '10.0.0', '2.1.330', '9.2.0']) {
    await publish(version)
    await releases.install('claude-code', version)
  }
  await writeFile(join(store, 'claude-code', 'README'), '')
  const installed = await releases.list('claude-code')
  expect(installed.map(({ version }) => version)).toEqual(['2.1.99', '2.1.330', '9.2.0', '10.0.0'])
  const newest = await releases.newest('claude-code')
  expect(newest.version).toBe('10.0.0')
  expect((await exec(join(newest.directory, 'claude'))).stdout).toBe('10.0.0\n')
  expect(JSON.parse(await readFile(join(newest.directory, 'release.json'), 'utf8'))).toEqual({
    package: packageName,
    version: '10.0.0',
    integrity: integrities['10.0.0'],
  })
  await releases.install('claude-code', '10.0.0')
  expect(downloads).toHaveLength(4)
})

test.each([
  [
    'a download that is not what the registry says',
    'AGENT_RELEASE_CORRUPT',
    () => publish('1.0.0').then(() => served['1.0.0']!.fill(1, 20, 40)),
  ],
  ['an archive of another version', 'AGENT_RELEASE_CORRUPT', () => publish('1.0.0', { says: '1.0.1' })],
  ['an archive without the program', 'AGENT_RELEASE_CORRUPT', () => publish('1.0.0', { binary: 'other' })],
  ['a version that does not exist', 'AGENT_RELEASE_MISSING', () => publish('1.0.1')],
  ['a package that does not exist', 'AGENT_RELEASE_MISSING', () => Promise.resolve()],
])('%s is refused and leaves nothing', async (_what, code, prepare) => {
  await prepare()
  await expect(openReleaseStore(store).install('claude-code', '1.0.0')).rejects.toMatchObject({ code })
  expect(await here()).toEqual([])
})

test('only exact versions of known frameworks are installed', async () => {
  const releases = openReleaseStore(store)
  for (const version of ['latest', '^1.0.0', '1.0.0-beta', '1.0.0/..', '']) {
    await expect(releases.install('claude-code', version)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  }
  for (const framework of ['emacs', 'constructor', '../x']) {
    await expect(releases.install(framework, '1.0.0')).rejects.toMatchObject({ code: 'UNKNOWN_FRAMEWORK' })
  }
  expect(downloads).toEqual([])
})

test('two installs at once give the same release, in one process and in two', async () => {
  await publish('1.0.0')
  const releases = openReleaseStore(store)
  const both = await Promise.all([releases.install('claude-code', '1.0.0'), releases.install('claude-code', '1.0.0')])
  expect(both[0]).toEqual(both[1])
  expect(downloads).toEqual(['1.0.0'])
  await publish('1.0.1')
  await Promise.all([1, 2].map(() => openReleaseStore(store).install('claude-code', '1.0.1')))
  expect((await here()).toSorted()).toEqual(['1.0.0', '1.0.1'])
})

test('an install that is killed leaves no release, and the next one removes what it left', async () => {
  integrities['9.9.9'] = `sha512-${createHash('sha512').update('x').digest('base64')}`
  const program = `import(process.argv[1]).then((m) => m.openReleaseStore(process.argv[2]).install('claude-code', '9.9.9'))`
  const dist = join(import.meta.dirname, '../dist/index.js')
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, dist, store], {
    stdio: 'ignore',
    detached: true,
  })
  while (hanging.length === 0) await once(registry, 'request')
  const ended = once(child, 'exit')
  process.kill(-(child.pid as number), 'SIGKILL')
  await ended
  expect(await here()).toEqual([expect.stringMatching(/^\.install-/)])
  expect(await openReleaseStore(store).list('claude-code')).toEqual([])
  await publish('1.0.0')
  await openReleaseStore(store).install('claude-code', '1.0.0')
  expect(await here()).toEqual(['1.0.0'])
})

test('a folder that lost its contents is no release, and is made anew', async () => {
  await mkdir(join(store, 'claude-code', '1.0.0', 'half'), { recursive: true })
  const releases = openReleaseStore(store)
  expect(await releases.list('claude-code')).toEqual([])
  await publish('1.0.0')
  const { directory } = await releases.install('claude-code', '1.0.0')
  expect((await readdir(directory)).toSorted()).toEqual(['claude', 'package.json', 'release.json'])
  expect((await stat(join(directory, 'claude'))).mode & 0o111).toBe(0o111)
})

test('versions are compared by their numbers', () => {
  const sorted = ['1.0.0', '1.0.2', '1.0.10', '1.2.0', '1.10.0', '2.0.0', '10.0.0']
  expect(sorted.toReversed().toSorted(compareVersions)).toEqual(sorted)
})
