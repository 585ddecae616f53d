import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBlobS3, openFileCache, openSecrets, type BlobS3Options } from '@vm0/backends'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { describeTree, OverlayFixture } from '../packages/checkpoints/src/overlay.test.fixture.js'
import { TestPlatform } from './support/platform.js'
import { S3Server } from './support/s3-server.js'

let server: S3Server
let directory: string
let opened: { close(): void }[] = []
beforeAll(async () => {
  server = await S3Server.start()
})
afterAll(() => server.close())
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-store-'))
})
afterEach(async () => {
  server.faultFor = () => undefined
  for (const each of opened.splice(0)) each.close()
  await rm(directory, { recursive: true })
})

async function openStore(options: Partial<BlobS3Options> = {}) {
  const cache = await openFileCache({ directory: join(directory, 'cache'), maxBytes: 2 ** 30 })
  const blobs = await openBlobS3({ ...server.options, cache, partBytes: 5 * 2 ** 20, ...options })
  opened.push(blobs)
  return blobs
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const name = (): string => `test/${randomBytes(8).toString('hex')}`

test('objects of every size come back as they were written, in one request or in parts', async () => {
  const blobs = await openStore({ prefix: 'some/prefix/' })
  const found = []
  for (const size of [0, 1, 100_000, 5 * 2 ** 20, 5 * 2 ** 20 + 1, 23_000_000]) {
    const content = randomBytes(size)
    const file = join(directory, 'file')
    await writeFile(file, content)
    const object = name()
    await blobs.putFile(object, file)
    expect(sha256(await blobs.get(object))).toBe(sha256(content))
    const path = (await blobs.localPath(object)) as string
    expect(sha256(await readFile(path))).toBe(sha256(content))
    found.push({ name: object, sizeBytes: size })
  }
  const listed = []
  for await (const { name, sizeBytes, writtenMs } of blobs.list('test/')) {
    listed.push({ name, sizeBytes })
    expect(Math.abs(Date.now() - writtenMs)).toBeLessThan(3_600_000)
  }
  expect(listed.toSorted((a, b) => a.sizeBytes - b.sizeBytes)).toEqual(found)
  await blobs.remove(found[0]?.name as string)
  expect(await blobs.has(found[0]?.name as string)).toBe(false)
})

test('an object that is not there is not there, and that is no failure of the store', async () => {
  const blobs = await openStore()
  const object = name()
  expect(await blobs.has(object)).toBe(false)
  expect(await blobs.localPath(object)).toBe(undefined)
  await expect(blobs.get(object)).rejects.toMatchObject({ name: 'NoSuchKey' })
})

test('an object that is renewed or written again is not removed as an old one', async () => {
  const blobs = await openStore()
  const object = name()
  expect(await blobs.renew(object)).toBe(false)
  await blobs.put(object, Buffer.from('content'))
  expect(await blobs.renew(object)).toBe(true)
  expect(await blobs.removeOld(object, Date.now() - 600_000)).toBe(false)
  expect(Buffer.from(await blobs.get(object)).toString()).toBe('content')
  expect(await blobs.removeOld(object, Date.now() + 600_000)).toBe(true)
  expect(await blobs.removeOld(object, Date.now() + 600_000)).toBe(false)
  expect(await blobs.has(object)).toBe(false)
})

test('answers of 500 and 503, slow ones and broken connections are tried again', async () => {
  const blobs = await openStore({ stalledMs: 2_000 })
  const content = randomBytes(12_000_000)
  const file = join(directory, 'file')
  await writeFile(file, content)
  const faults = [{ status: 500 }, { status: 503 }, { delayMs: 300 }, { cutAfterBytes: 1_000_000 }, 'hang'] as const
  server.faultFor = ({ number }) => (number % 2 === 0 ? faults[(number / 2) % faults.length] : undefined)
  for (let round = 0; round < 3; round++) {
    const object = name()
    await blobs.putFile(object, file)
    expect(sha256(await blobs.get(object))).toBe(sha256(content))
  }
})

test('a store that is away is told as such, and what was in it is untouched', async () => {
  const blobs = await openStore({ attempts: 2 })
  const object = name()
  await blobs.put(object, Buffer.from('kept'))
  server.faultFor = () => ({ status: 503 })
  await expect(blobs.put(name(), Buffer.from('lost'))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  await expect(blobs.has(object)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true })
  server.faultFor = () => undefined
  expect(Buffer.from(await blobs.get(object)).toString()).toBe('kept')
  await expect(openStore({ bucket: 'nobody-made-this', attempts: 1 })).rejects.toMatchObject({
    code: 'STORE_UNREACHABLE',
  })
})

test('an upload that breaks in the middle leaves no object', async () => {
  const blobs = await openStore({ attempts: 1 })
  const file = join(directory, 'file')
  await writeFile(file, randomBytes(12_000_000))
  const object = name()
  server.faultFor = ({ url }) => (url.includes('partNumber=2') ? { status: 500 } : undefined)
  await expect(blobs.putFile(object, file)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  expect(await blobs.has(object)).toBe(false)
  expect((await stat(file)).size).toBe(12_000_000)
})

test('checkpoints in a remote store: made on one host, restored on another that has nothing yet', async () => {
  const overlay = await OverlayFixture.create()
  try {
    const secrets = await openSecrets(join(directory, 'master.json'))
    const host = async (name: string) => ({
      blobs: await openStore(),
      scratch: join(directory, name, 'scratch'),
      packed: {
        cache: await openFileCache({ directory: join(directory, name, 'layers'), maxBytes: 2 ** 30 }),
        keysOf: (project: string) => secrets.keysFor(project),
      },
    })
    await overlay.reopen(await host('one'))
    await overlay.start()
    const at = (path: string): string => join(overlay.live, path)
    await mkdir(at('folder'))
    await writeFile(at('folder/large'), randomBytes(20_000_000))
    await writeFile(at('folder/file'), 'one')
    await overlay.save()
    // What is refused while the store is away is not lost: the next checkpoint has it.
    await writeFile(at('folder/file'), 'two')
    await rm(at('folder/large'))
    server.faultFor = ({ url }) => (url.includes('manifests') ? { status: 403 } : undefined)
    await expect(overlay.save()).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' })
    server.faultFor = () => undefined
    const { manifest } = await overlay.save()
    const tree = describeTree(overlay.live, overlay.upper)
    await overlay.reopen(await host('two'))
    await overlay.withRestored(manifest.layers, (root) => expect(describeTree(root)).toEqual(tree))
    // A third host, and one damaged object: it is named.
    const [layer] = manifest.layers
    const blobs = await openStore()
    const object = `packs/default/${layer?.digest.replace(':', '-')}`
    const packed = Buffer.from(await blobs.get(object))
    packed[packed.length >> 1] = (packed[packed.length >> 1] as number) ^ 1
    await blobs.put(object, packed)
    await overlay.reopen(await host('three'))
    await expect(overlay.store.layerImages(manifest)).rejects.toMatchObject({
      code: 'CHECKPOINT_CORRUPT',
      message: expect.stringContaining(layer?.digest as string),
    })
  } finally {
    await overlay.close()
  }
})

test('a platform on a remote store goes on from it after its own disk is lost', async () => {
  const script = { name: 'store', conversations: [{ when: 'save', steps: [{ text: 'saved' }] }] }
  const platform = await TestPlatform.start([script], {
    VM0_S3_BUCKET: server.options.bucket,
    VM0_S3_ENDPOINT: server.options.endpoint,
    VM0_S3_PREFIX: 'platform/',
    AWS_ACCESS_KEY_ID: 'S3RVER',
    AWS_SECRET_ACCESS_KEY: 'S3RVER',
  })
  try {
    const { session } = await platform.client.run({ prompt: 'save' })
    await session.files.write('/workspace/kept.txt', 'kept')
    await session.run('save')
    await session.close()
    await platform.kill()
    await rm(join(platform.directory, 'data/cache'), { recursive: true })
    await platform.up()
    const again = platform.client.sessions.get(session.id)
    expect(await again.files.readText('/workspace/kept.txt')).toBe('kept')

    // Another key seals from now on; the sandbox's own records are under the first one until it is freed.
    const keys = async () => (await platform.client.store.encryption()).keys
    const [{ id: first = '' } = {}] = await keys()
    const rotated = await platform.cli('encryption', 'rotate')
    expect(rotated).toMatchObject({ status: 0, stdout: expect.stringMatching(/sealed under the key [0-9a-f]{16}/) })
    expect(await keys()).toMatchObject([{ newest: true }, { id: first, objects: 0, rows: 0 }])
    await platform.client.sessions.get(session.id).run('save')
    await again.close()
    expect(await platform.cli('encryption', 'drop', first)).toMatchObject({ status: 0 })
    const refused = await platform.cli('encryption', 'drop', (await keys())[0]?.id ?? '')
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('ENCRYPTION_KEY_IN_USE') })
    await platform.kill()
    await rm(join(platform.directory, 'data/cache'), { recursive: true })
    await platform.up()
    const third = platform.client.sessions.get(session.id)
    expect(await third.files.readText('/workspace/kept.txt')).toBe('kept')
    expect((await platform.client.runs.list({ sessionId: session.id })).items.map(({ text }) => text)).toContain(
      'saved',
    )
    expect(await platform.client.store.encryption()).toMatchObject({ keys: [{ newest: true }], missing: [] })
    expect((await platform.client.store.fsck({ deep: true })).problems).toEqual([])
  } finally {
    await platform.stop()
  }
})
