import { randomBytes, createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createClient, type Session } from '../packages/vm0/src/index.js'
import { CuttingProxy } from './support/cutting-proxy.js'
import { TestPlatform } from './support/platform.js'

const mebi = 1024 ** 2
let platform: TestPlatform
let folder: string
let session: Session
beforeAll(async () => {
  platform = await TestPlatform.start([])
  folder = await mkdtemp(join(tmpdir(), 'vm0-large-'))
  process.env.XDG_CACHE_HOME = join(folder, 'cache')
  process.env.XDG_STATE_HOME = join(folder, 'state')
  session = await platform.client.sessions.create()
})
afterAll(async () => {
  await platform?.stop()
  delete process.env.XDG_CACHE_HOME
  delete process.env.XDG_STATE_HOME
  await rm(folder, { recursive: true, force: true })
})
let local: string
beforeEach(async () => {
  local = await mkdtemp(join(folder, 'case-'))
})

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const remoteDigest = async (path: string): Promise<string> =>
  (await session.exec(['sha256sum', path])).stdout.split(' ')[0] as string
/** One byte changed in the middle, and one put in at the front. */
const edited = (bytes: Buffer): Buffer => {
  const changed = Buffer.concat([Buffer.from('!'), bytes])
  changed.writeUInt8(changed.readUInt8(changed.length >> 1) ^ 1, changed.length >> 1)
  return changed
}
const leftBehind = async (): Promise<string> =>
  (await session.exec('find /var/tmp/vm0-arrivals -type f 2>/dev/null; find /workspace -name ".vm0*"')).stdout

async function through(options: Partial<Parameters<typeof CuttingProxy.start>[2]>) {
  const proxy = await CuttingProxy.start(platform.url, 1, { maxCuts: 0, minBytes: 0, maxBytes: 0, ...options })
  const client = createClient({ url: proxy.url, apiKey: platform.apiKey, retries: 30 })
  return { proxy, session: client.sessions.get(session.id), wire: () => proxy.sentBytes + proxy.answeredBytes }
}

test('a small change of a big file moves a piece or two of it, both ways', async () => {
  const size = 64 * mebi
  const first = randomBytes(size)
  const tree = join(local, 'tree')
  await mkdir(tree)
  await writeFile(join(tree, 'big'), first, { mode: 0o640 })
  await session.files.upload(tree, '/workspace/tree')
  const { proxy, session: counted, wire } = await through({})
  try {
    const second = edited(first)
    await writeFile(join(tree, 'big'), second)
    const sent = await counted.files.upload(tree, '/workspace/tree')
    expect(await remoteDigest('/workspace/tree/big')).toBe(sha256(second))
    const sentWire = wire()
    expect(sentWire).toBeLessThan(size * 0.05)
    expect(sent).toMatchObject({ files: 1, removed: [] })
    expect([sent.bytes + sent.savedBytes, sent.bytes < size * 0.05]).toEqual([second.length, true])
    const { mode, modifiedAt } = await session.files.stat('/workspace/tree/big')
    expect([mode, Date.parse(modifiedAt)]).toEqual([0o640, Math.floor((await stat(join(tree, 'big'))).mtimeMs)])

    // The same change back, made in the session.
    await session.exec(`cd tree && tail -c +2 big >new && chmod 600 new && mv new big`)
    const back = await counted.files.download('/workspace/tree', tree)
    expect(wire() - sentWire).toBeLessThan(size * 0.05)
    expect(sha256(await readFile(join(tree, 'big')))).toBe(sha256(second.subarray(1)))
    expect([back.files, back.bytes + back.savedBytes]).toEqual([1, size])
    expect((await stat(join(tree, 'big'))).mode & 0o777).toBe(0o600)
    expect(await leftBehind()).toBe('')
  } finally {
    await proxy.close()
  }
})

test('one file by its name, and `vm0 push` and `pull`, move it in pieces, too', async () => {
  const size = 8 * mebi
  const first = randomBytes(size)
  await writeFile(join(local, 'one'), first)
  await session.files.upload(join(local, 'one'), '/workspace/one')
  const { proxy, session: counted, wire } = await through({})
  try {
    await writeFile(join(local, 'one'), edited(first))
    const { bytes, savedBytes } = await counted.files.upload(join(local, 'one'), '/workspace/one')
    expect(await remoteDigest('/workspace/one')).toBe(sha256(edited(first)))
    expect([wire() < 2.5 * mebi, bytes + savedBytes]).toEqual([true, size + 1])
    await session.exec('printf more >>one')
    const before = wire()
    const fetched = await counted.files.download('/workspace/one', join(local, 'one'))
    expect(sha256(await readFile(join(local, 'one')))).toBe(await remoteDigest('/workspace/one'))
    expect([wire() - before < 1.5 * mebi, fetched.bytes + fetched.savedBytes]).toEqual([true, size + 5])
  } finally {
    await proxy.close()
  }
  // One that changes while it is sent is told, and what the session has stays.
  const before = await remoteDigest('/workspace/one')
  const onProgress = (): void => writeFileSync(join(local, 'one'), randomBytes(size))
  await expect(session.files.upload(join(local, 'one'), '/workspace/one', { onProgress })).rejects.toMatchObject({
    code: 'FILE_INVALID',
    message: expect.stringContaining('changed while it was read') as string,
  })
  expect([await remoteDigest('/workspace/one'), await leftBehind()]).toEqual([before, ''])
  await session.exec('rm -rf /workspace/*')
  await rm(join(local, 'one'))
  await writeFile(join(local, 'data'), first)
  const push = () => platform.cli('push', session.id, '-w', local, '--json')
  expect((await push()).status).toBe(0)
  await writeFile(join(local, 'data'), edited(first))
  const pushed = JSON.parse((await push()).stdout.trim().split('\n').at(-1) as string) as Record<string, number>
  expect([pushed.bytes! < 2.5 * mebi, pushed.bytes! + pushed.savedBytes!]).toEqual([true, size + 1])
  await session.exec('printf more >>data')
  const pulled = await platform.cli('pull', session.id, '-o', local)
  expect([pulled.status, sha256(await readFile(join(local, 'data')))]).toEqual([0, await remoteDigest('data')])
})

test('a big file goes on where its connection broke, both ways', async () => {
  const size = 36 * mebi
  const content = randomBytes(size)
  await mkdir(join(local, 'tree'))
  await writeFile(join(local, 'tree/big'), content)
  const cutting = { maxCuts: 6, minBytes: 2 * mebi, maxBytes: 5 * mebi }
  const up = await through({ ...cutting, sent: true })
  try {
    await up.session.files.upload(join(local, 'tree'), '/workspace/broken')
    expect(up.proxy.cuts).toBeGreaterThan(1)
    expect(await remoteDigest('/workspace/broken/big')).toBe(sha256(content))
    // What had arrived before a cut did not go again, but for what was on its way.
    expect(up.proxy.sentBytes).toBeLessThan(size * 1.6)
    expect(await leftBehind()).toBe('')
  } finally {
    await up.proxy.close()
  }
  const down = await through(cutting)
  try {
    const target = join(local, 'back')
    await mkdir(target)
    await writeFile(join(target, 'mine'), 'stays')
    await down.session.files.download('/workspace/broken', target)
    // More cuts than there are tries for what begins anew each time.
    expect(down.proxy.cuts).toBe(6)
    expect(sha256(await readFile(join(target, 'big')))).toBe(sha256(content))
  } finally {
    await down.proxy.close()
  }
})

test('what a request says of a file is held against what comes, and nothing is put in its place', async () => {
  const content = randomBytes(5 * mebi)
  await session.files.write('/workspace/target', content)
  const post = async (call: string, body: string | Uint8Array<ArrayBuffer>) => {
    const response = await platform.fetch(`/v1/sessions/${session.id}/${call}/workspace/target`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/octet-stream' },
    })
    return { status: response.status, text: await response.text() }
  }
  const other = randomBytes(1000)
  const head = { v: 1, digest: sha256(other), sizeBytes: 1000, mode: 0o600, modifiedMs: 0, fromBytes: 0 }
  const patch = (change: object, bytes: Uint8Array = other) =>
    post('patches', Buffer.concat([Buffer.from(`${JSON.stringify({ ...head, ...change })}\n`), bytes]))
  const here = (bytes: number): object => ({ parts: [['here', bytes]] })
  const nothing = Buffer.alloc(0)
  const refused: [object, number, Uint8Array?][] = [
    [{}, 400],
    [{ ...here(1000), v: 2 }, 400],
    [here(999), 400],
    [
      {
        parts: [
          ['here', 1500],
          ['here', -500],
        ],
      },
      400,
    ],
    [{ parts: [['there', 1000, -1]] }, 400],
    [{ ...here(1000), mode: 0o4755 }, 400],
    [{ ...here(1000), digest: '../../etc/passwd' }, 400],
    // Fewer and more bytes than were announced, other ones, and a part that is behind the file's end.
    [here(1000), 400, other.subarray(1)],
    [here(1000), 400, Buffer.concat([other, other])],
    [here(1000), 409, randomBytes(1000)],
    [{ parts: [['there', 1000, 2 ** 40]] }, 409, nothing],
    [{ parts: [['there', 900, 0]], fromBytes: 100 }, 409, nothing],
  ]
  for (const [change, status, bytes = other] of refused) {
    await session.exec('rm -rf /var/tmp/vm0-arrivals')
    const answer = await patch(change, bytes)
    expect([change, answer.status]).toEqual([change, status])
  }
  expect((await post('patches', 'x'.repeat(100))).status).toBe(400)
  expect((await post('ranges', '{"v":1,"ranges":[[0,0]]}\n')).status).toBe(400)
  expect((await post('ranges', '{"v":1,"ranges":[]}')).status).toBe(400)
  expect((await post('chunks', 'x')).status).toBe(400)
  expect((await post('ranges', `{"v":1,"ranges":[[2,3],[${5 * mebi - 1},9]]}\n`)).text.length).toBeGreaterThan(0)
  expect(await remoteDigest('/workspace/target')).toBe(sha256(content))
  expect((await patch(here(1000))).status).toBe(204)
  expect(await remoteDigest('/workspace/target')).toBe(sha256(other))
})

test('a session that lies about its pieces harms nothing, and a file that can not be had in pieces comes whole', async () => {
  const content = randomBytes(6 * mebi)
  await session.files.write('/workspace/lies/big', content)
  const target = join(local, 'target')
  await mkdir(target)
  await writeFile(join(target, 'big'), edited(content))
  // Pieces are read with `cat`, parts with `dd`: neither tells the truth here.
  await session.files.write('/usr/local/bin/cat', '#!/bin/sh\nhead -c 6291456 /dev/zero\n')
  await session.exec('chmod +x /usr/local/bin/cat')
  try {
    await session.files.download('/workspace/lies', target)
    expect(sha256(await readFile(join(target, 'big')))).toBe(sha256(content))
  } finally {
    await session.exec('rm /usr/local/bin/cat')
  }
  const lie = 'case "$*" in *if=*) exec yes;; *) exec /usr/bin/dd "$@";; esac'
  await session.files.write('/usr/local/bin/dd', `#!/bin/sh\n${lie}\n`)
  await session.exec('chmod +x /usr/local/bin/dd')
  try {
    await writeFile(join(target, 'big'), edited(content))
    await session.files.download('/workspace/lies', target)
    expect(sha256(await readFile(join(target, 'big')))).toBe(sha256(content))
  } finally {
    await session.exec('rm /usr/local/bin/dd')
  }
  // One whose names have no end can't be listed at all.
  const endless = 'case "$*" in *" -type l "*) exec yes;; *) exec /usr/bin/find "$@";; esac'
  await session.files.write('/usr/local/bin/find', `#!/bin/sh\n${endless}\n`)
  await session.exec('chmod +x /usr/local/bin/find')
  try {
    await expect(session.files.download('/workspace/lies', target)).rejects.toMatchObject({ code: 'EXEC_FAILED' })
  } finally {
    await session.exec('rm /usr/local/bin/find')
  }
  // A link here is replaced, never read or written through.
  await writeFile(join(local, 'outside'), content)
  await rm(join(target, 'big'))
  await symlink('../outside', join(target, 'big'))
  await session.exec('printf more >>lies/big')
  await session.files.download('/workspace/lies', target)
  expect((await stat(join(target, 'big'))).size).toBe(content.length + 4)
  expect(sha256(await readFile(join(local, 'outside')))).toBe(sha256(content))
})
