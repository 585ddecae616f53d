import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createClient, type Session, type TransferProgress } from '../packages/vm0/src/index.js'
import { CuttingProxy } from './support/cutting-proxy.js'
import { TestPlatform } from './support/platform.js'

let platform: TestPlatform
let folder: string
beforeAll(async () => {
  platform = await TestPlatform.start([])
  folder = await mkdtemp(join(tmpdir(), 'vm0-sync-'))
  process.env.XDG_CACHE_HOME = join(folder, 'cache')
})
afterAll(async () => {
  await platform?.stop()
  delete process.env.XDG_CACHE_HOME
  await rm(folder, { recursive: true, force: true })
})
let local: string
let session: Session
beforeEach(async () => {
  local = await mkdtemp(join(folder, 'case-'))
  session = await platform.client.sessions.create()
})

const describeScript = String.raw`cd "$1" && find . -mindepth 1 \( -type l -printf '%P %y %l\n' \) -o -printf '%P %y %m\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum`
const localTree = (path: string): string => execFileSync('sh', ['-c', describeScript, 'sh', path], { encoding: 'utf8' })
const remoteTree = async (path: string): Promise<string> =>
  (await session.exec(['sh', '-c', describeScript, 'sh', path])).stdout

async function writeAll(root: string, files: Record<string, string>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true })
    await writeFile(join(root, name), content)
  }
}

/** Through a proxy that counts, or cuts. */
async function through(options: ConstructorParameters<typeof Object>[0] & object, seed = 1) {
  const proxy = await CuttingProxy.start(platform.url, seed, {
    maxCuts: 0,
    minBytes: 0,
    maxBytes: 0,
    ...(options as object),
  })
  const client = createClient({ url: proxy.url, apiKey: platform.apiKey, retries: 30 })
  return { proxy, session: client.sessions.get(session.id) }
}

const names = fc.constantFrom('a', 'b', 'c/a', 'c/b', 'c/d/a', '-x', 'é ü')
const step = fc.oneof(
  fc.record({
    do: fc.constant('write' as const),
    name: names,
    content: fc.constantFrom('', 'one', 'two', '2'.repeat(5000)),
  }),
  fc.record({ do: fc.constant('remove' as const), name: fc.constantFrom('a', 'c', 'c/a', 'c/d', '-x') }),
  fc.record({ do: fc.constant('rename' as const), name: names, to: names }),
  fc.record({ do: fc.constant('chmod' as const), name: names }),
  fc.record({ do: fc.constant('link' as const), name: names }),
  fc.record({ do: fc.constant('mkdir' as const), name: fc.constantFrom('e', 'c/e', 'c/d/e') }),
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

async function apply(root: string, each: Step): Promise<void> {
  const path = join(root, each.name)
  try {
    if (each.do !== 'remove') await mkdir(dirname(path), { recursive: true })
    if (each.do === 'write') await writeFile(path, each.content)
    else if (each.do === 'remove') await rm(path, { recursive: true })
    else if (each.do === 'rename') await rename(path, join(root, each.to))
    else if (each.do === 'chmod') await chmod(path, 0o700)
    else if (each.do === 'link') await symlink('a', path)
    else await mkdir(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
  }
}

test('whatever is done to a folder, an upload makes the session have the same, and a download brings it back', async () => {
  const programs = fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { minLength: 2, maxLength: 5 })
  let round = 0
  const property = fc.asyncProperty(programs, async (rounds) => {
    const root = join(local, `case-${round}`)
    const copy = join(local, `copy-${round}`)
    const remote = `/workspace/${round++}`
    await mkdir(root)
    await mkdir(copy)
    await writeFile(join(copy, 'mine'), 'stays')
    for (const steps of rounds) {
      for (const each of steps) await apply(root, each)
      await session.files.upload(root, remote, { delete: true })
      const expected = localTree(root)
      expect(await remoteTree(remote)).toBe(expected)
      const again = await session.files.upload(root, remote, { delete: true })
      expect(again).toMatchObject({ removed: [] })
    }
    await session.files.download(remote, copy)
    await rm(join(copy, 'mine'))
    expect(localTree(copy)).toBe(localTree(root))
  })
  await fc.assert(property, { numRuns: Number(process.env.VM0_PROPERTY_RUNS ?? 8) })
}, 600_000)

test('one change in a hundred costs about a hundredth on the wire, both ways', async () => {
  const random = (index: number): string =>
    execFileSync('head', ['-c', '6000', '/dev/urandom'], { encoding: 'base64' }) + index
  for (let index = 0; index < 2000; index++)
    await writeAll(local, { [`d${index % 40}/f${index}`]: index < 40 ? random(index) : `${'x'.repeat(8000)}${index}` })
  await session.files.upload(local, '/workspace/tree')
  const { proxy, session: counted } = await through({})
  try {
    await counted.files.upload(local, '/workspace/tree')
    const quiet = proxy.sentBytes + proxy.answeredBytes
    for (let index = 0; index < 20; index++) await writeAll(local, { [`d${index}/f${index}`]: random(index) })
    const told: TransferProgress[] = []
    const { files, bytes, savedBytes } = await counted.files.upload(local, '/workspace/tree', {
      onProgress: (progress) => told.push(progress),
    })
    const wire = proxy.sentBytes + proxy.answeredBytes - quiet
    expect([files, quiet < 60_000]).toEqual([20, true])
    expect(wire).toBeLessThan(bytes * 1.5 + 60_000)
    expect(savedBytes).toBeGreaterThan(15_000_000)
    expect(told.at(-1)).toEqual({ files: 20, totalFiles: 20, bytes, totalBytes: bytes, savedBytes })
    await session.exec('for i in $(seq 0 19); do echo more >>tree/d$i/f$i; done')
    const before = proxy.sentBytes + proxy.answeredBytes
    const back = await counted.files.download('/workspace/tree', local)
    expect(back.files).toBe(20)
    expect(proxy.sentBytes + proxy.answeredBytes - before).toBeLessThan(back.bytes * 1.5 + 60_000)
    expect(localTree(local)).toBe(await remoteTree('/workspace/tree'))
  } finally {
    await proxy.close()
  }
})

test.each([1, 2, 3])(
  'connections that break lose nothing, and what has arrived is not sent again (seed %i)',
  async (seed) => {
    for (let index = 0; index < 30; index++)
      await writeAll(local, { [`f${index}`]: `${index}`.repeat(1024 ** 2 * 2).slice(0, 4 * 1024 ** 2) })
    const { proxy, session: unlucky } = await through(
      { maxCuts: 5, minBytes: 1_000_000, maxBytes: 60_000_000, sent: true },
      seed,
    )
    try {
      await unlucky.files.upload(local, '/workspace/tree')
      expect(proxy.cuts).toBeGreaterThan(0)
      expect(await remoteTree('/workspace/tree')).toBe(localTree(local))
    } finally {
      await proxy.close()
    }
    const other = await through({ maxCuts: 5, minBytes: 1_000_000, maxBytes: 60_000_000 }, seed)
    try {
      const target = join(local, 'back')
      await writeAll(target, { mine: 'stays' })
      await other.session.files.download('/workspace/tree', target)
      expect(other.proxy.cuts).toBeGreaterThan(0)
      await rm(join(target, 'mine'))
      expect(localTree(target)).toBe(await remoteTree('/workspace/tree'))
    } finally {
      await other.proxy.close()
    }
  },
)

test('a change that leaves size and time as they were is seen on both sides', async () => {
  await writeAll(local, { a: 'one', b: 'one' })
  await session.files.upload(local, '/workspace/tree')
  await session.files.upload(local, '/workspace/tree')
  await writeFile(join(local, 'a'), 'two')
  await utimes(join(local, 'a'), 1, 1)
  await session.exec('cd tree && touch -r b /tmp/t && printf 2wo >b && touch -r /tmp/t b')
  const { files } = await session.files.upload(local, '/workspace/tree')
  expect(files).toBe(2)
  expect(await remoteTree('/workspace/tree')).toBe(localTree(local))
})

test('what ignore files exclude neither goes nor is removed; without asking, nothing is', async () => {
  await writeAll(local, {
    '.gitignore': 'node_modules\n*.log\n!kept.log\n',
    '.vm0ignore': 'private/\n',
    'node_modules/x/index.js': 'x',
    'out.log': 'x',
    'kept.log': 'x',
    'private/key': 'x',
    'src/a': 'x',
    'src/.gitignore': 'gen\n',
    'src/gen/b': 'x',
  })
  await session.exec(
    'mkdir -p tree/node_modules/own tree/extra/deep && echo own >tree/node_modules/own/f && echo x >tree/extra/deep/f',
  )
  await session.files.upload(local, '/workspace/tree', { ignore: true })
  const list = async () => (await session.exec('cd tree && find . -type f | LC_ALL=C sort')).stdout.trim().split('\n')
  const sent = [
    './.gitignore',
    './.vm0ignore',
    './extra/deep/f',
    './kept.log',
    './node_modules/own/f',
    './src/.gitignore',
    './src/a',
  ]
  expect(await list()).toEqual(sent)
  const { removed } = await session.files.upload(local, '/workspace/tree', { ignore: true, delete: true })
  expect(removed).toEqual(['extra/deep/f', 'extra/deep', 'extra'])
  expect(await list()).toEqual(sent.filter((name) => name !== './extra/deep/f'))
  const back = join(local, 'back')
  await session.exec('cd tree && echo x >made.log && mkdir private && echo x >private/k')
  await session.files.download('/workspace/tree', back, { ignore: true })
  expect((await readdir(back)).toSorted()).toEqual(['.gitignore', '.vm0ignore', 'kept.log', 'src'])
})

test('a folder is not given up for a file of its name unless that is asked for', async () => {
  await writeAll(local, { a: 'file' })
  await session.exec('mkdir -p tree/a && echo x >tree/a/inside')
  await expect(session.files.upload(local, '/workspace/tree')).rejects.toMatchObject({ code: 'FILE_INVALID' })
  await session.files.upload(local, '/workspace/tree', { delete: true })
  expect(await remoteTree('/workspace/tree')).toBe(localTree(local))
})

test('names that a session makes up lead nowhere', async () => {
  const fake = String.raw`#!/bin/sh
case "$*" in *-maxdepth*) exec /usr/bin/find "$@" ;; esac
printf '%s\0' 'f 644 1 3 1.0 ../escaped'`
  await session.files.write('/usr/local/bin/find', fake)
  await session.exec('chmod +x /usr/local/bin/find; mkdir -p tree; echo bad >tree/../escaped')
  await writeAll(join(local, 'target'), { mine: 'x' })
  await expect(session.files.download('/workspace/tree', join(local, 'target'))).rejects.toMatchObject({
    code: 'FILE_INVALID',
    message: expect.stringContaining('../escaped') as string,
  })
  expect(await readdir(local)).toEqual(['target'])
  expect(await readFile(join(local, 'target/mine'), 'utf8')).toBe('x')
})

test('a request that is no comparison is refused; another project sees nothing', async () => {
  const post = (path: string, body: string | Uint8Array<ArrayBuffer>, key?: string) =>
    platform.fetch(`/v1/sessions/${session.id}/${path}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/octet-stream' },
      ...(key ? { key } : {}),
    })
  for (const body of [
    '',
    '{}',
    '{"v":1,"buckets":4,"rules":[],"ownRules":false}\n',
    '{"v":9,"buckets":1,"rules":[],"ownRules":false}\n',
  ])
    expect([body, (await post('comparisons/workspace', body)).status]).toEqual([body, 400])
  const { key } = await platform.project('sync-other')
  for (const call of ['comparisons', 'entries', 'removals', 'chunks', 'ranges', 'patches'])
    expect((await post(`${call}/workspace`, 'x\0', key)).status).toBe(404)
  const names = await post('entries/workspace', '--help\0../etc/passwd\0-C/\0')
  expect(names.status).toBe(200)
})
