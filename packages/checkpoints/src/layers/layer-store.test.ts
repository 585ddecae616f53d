import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { openBlobDirectory, openFileCache, openSecrets, type BlobPort, type SecretsPort } from '@vm0/backends'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { digestOf, digestOfFile, packName } from '../digest.js'
import type { LayerReference } from '../store.js'
import { openFrames, sealFrames } from '../sealing/frames.js'
import { PackedLayers } from './layer-store.js'

let directory: string
let blobs: BlobPort
let secrets: SecretsPort
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-packs-'))
  blobs = await openBlobDirectory(join(directory, 'objects'))
  secrets = await openSecrets(join(directory, 'keys/master.json'))
})
afterEach(() => rm(directory, { recursive: true }))

const path = (name: string): string => join(directory, name)

/** A host of its own: an empty cache, the same store. */
async function openLayers(host: string, { sealed = true, maxBytes = 2 ** 30, keepMs = 60_000 } = {}) {
  const cache = await openFileCache({ directory: path(host), maxBytes, keepMs })
  return new PackedLayers(
    blobs,
    directory,
    cache,
    sealed ? (project) => secrets.keysFor(`layers of ${project}`) : undefined,
  )
}

async function makeLayer(text: string, repeat = 20_000): Promise<{ layer: LayerReference; image: string }> {
  const image = path(`image-${Math.random()}`)
  await writeFile(image, text.repeat(repeat))
  return { layer: { digest: await digestOfFile(image), sizeBytes: (await stat(image)).size }, image }
}

/** So many times a text is unpacked in a thread of its own: its layer has more than 4 MiB. */
const large = 300_000

test.each([
  [true, 20_000],
  [false, 20_000],
  [true, large],
  [false, large],
])(
  'a layer is stored compressed (sealed: %s, %i lines) and comes back on another host as it was',
  async (sealed, lines) => {
    const { layer, image } = await makeLayer('the content of a file\n', lines)
    const plain = await readFile(image)
    await (await openLayers('one', { sealed })).put('project', layer, image)
    const stored = await readFile(path(`objects/${packName('project', layer.digest)}`))
    expect(stored.length).toBeLessThan(plain.length / 10)
    expect(stored.includes('"key"')).toBe(sealed)
    const restored = await (await openLayers('two', { sealed })).file('project', layer)
    expect((await readFile(restored)).equals(plain)).toBe(true)
  },
)

test('large layers of any content and length come back, several at once', async () => {
  const layers = []
  for (const length of [4 * 1024 ** 2 + 1, 5 * 1024 ** 2, 7_654_321]) {
    const image = path(`image-${length}`)
    // Half of it can't be compressed.
    await writeFile(
      image,
      Buffer.concat([randomBytes(length / 2), Buffer.alloc(length - Math.floor(length / 2), 'text ')]),
    )
    const layer = { digest: await digestOfFile(image), sizeBytes: length }
    await (await openLayers('one')).put('project', layer, image)
    layers.push(layer)
  }
  const other = await openLayers('two')
  const files = await Promise.all(layers.map((layer) => other.file('project', layer)))
  expect(await Promise.all(files.map(digestOfFile))).toEqual(layers.map(({ digest }) => digest))
  await Promise.all(layers.map((layer) => other.check('project', layer, true)))
})

test('where it was made, it is in the cache already', async () => {
  const { layer, image } = await makeLayer('x')
  const layers = await openLayers('one')
  await layers.put('project', layer, image)
  await blobs.remove(packName('project', layer.digest))
  expect(await digestOfFile(await layers.file('project', layer))).toBe(layer.digest)
})

test.each([20_000, 600_000])(
  'a flipped bit, a truncation and a missing object are found and named, and nothing of them is kept (%i words)',
  async (words) => {
    const { layer, image } = await makeLayer('some words ', words)
    await (await openLayers('one')).put('project', layer, image)
    const object = path(`objects/${packName('project', layer.digest)}`)
    const whole = await readFile(object)
    const fails = async (): Promise<void> => {
      await expect((await openLayers('two')).file('project', layer)).rejects.toMatchObject({
        code: 'CHECKPOINT_CORRUPT',
        message: expect.stringContaining(layer.digest) as string,
      })
      expect(await readdir(path('two'))).toEqual([])
    }
    for (const at of [3, 60, whole.length - 30]) {
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] as number) ^ 1
      await writeFile(object, flipped)
      await fails()
    }
    for (const size of [whole.length - 1, whole.length - 16, 200, 5, 0]) {
      await writeFile(object, whole)
      await truncate(object, size)
      await fails()
    }
    await rm(object)
    await fails()
  },
)

test("another project's key does not open a layer; one that was rotated still does", async () => {
  const { layer, image } = await makeLayer('secret ')
  await (await openLayers('one')).put('mine', layer, image)
  await blobs.put(packName('yours', layer.digest), await blobs.get(packName('mine', layer.digest)))
  await expect((await openLayers('two')).file('yours', layer)).rejects.toMatchObject({ code: 'CHECKPOINT_CORRUPT' })
  const keyFile = path('keys/master.json')
  const keys = JSON.parse(await readFile(keyFile, 'utf8')) as object[]
  const added = { id: '00112233445566ff', key: Buffer.alloc(32, 7).toString('base64') }
  await writeFile(keyFile, JSON.stringify([added, ...keys]))
  secrets = await openSecrets(keyFile)
  expect(await digestOfFile(await (await openLayers('three')).file('mine', layer))).toBe(layer.digest)
  await writeFile(keyFile, JSON.stringify([added]))
  secrets = await openSecrets(keyFile)
  await expect((await openLayers('four')).file('mine', layer)).rejects.toMatchObject({
    code: 'ENCRYPTION_KEY_MISSING',
    message: expect.stringContaining(layer.digest) as string,
  })
})

test('the cache stays within its bound, and forgets first what was not used for longest', async () => {
  const layers = await openLayers('one', { maxBytes: 250_000, keepMs: 0 })
  const made = []
  for (const letter of ['a', 'b']) {
    const each = await makeLayer(letter, 100_000)
    await layers.put('project', each.layer, each.image)
    made.push(each.layer)
  }
  const [a, b] = made as [LayerReference, LayerReference]
  await layers.file('project', a)
  const c = await makeLayer('c', 100_000)
  await layers.put('project', c.layer, c.image)
  const held = (await readdir(path('one'))).toSorted()
  expect(held).toEqual([a, c.layer].map(({ digest }) => digest.replace(':', '-')).toSorted())
  expect(await digestOfFile(await layers.file('project', b))).toBe(b.digest)
})

test('what holds more or less than it says is not taken, however large', async () => {
  for (const lines of [20_000, large]) {
    const { layer, image } = await makeLayer('the content of a file\n', lines)
    await (await openLayers('one', { sealed: false })).put('project', layer, image)
    const two = await openLayers('two', { sealed: false })
    for (const by of [-1, -layer.sizeBytes + 1]) {
      const shorter = { ...layer, sizeBytes: layer.sizeBytes + by }
      await expect(two.file('project', shorter)).rejects.toThrow(`more than the ${shorter.sizeBytes} bytes`)
    }
    const object = packName('project', layer.digest)
    const twice = Buffer.concat([await blobs.get(object), Buffer.from('behind its end')])
    await blobs.remove(object)
    await blobs.put(object, twice)
    await expect(two.file('project', layer)).rejects.toMatchObject({ code: 'CHECKPOINT_CORRUPT' })
    expect(await readdir(path('two'))).toEqual([])
  }
})

test('a file of the cache is compared once, not with each use', async () => {
  const { layer, image } = await makeLayer('the content of a file\n', large)
  const bytesRead = async (): Promise<number> =>
    Number(/rchar: (\d+)/.exec(await readFile('/proc/self/io', 'utf8'))?.[1])
  await (await openLayers('one')).put('project', layer, image)
  const fetched = await openLayers('two')
  await fetched.file('project', layer)
  for (const [layers, comparisons] of [
    [fetched, 0],
    [await openLayers('two'), 1],
  ] as const) {
    const before = await bytesRead()
    for (let use = 0; use < 3; use++) await layers.file('project', layer)
    expect(Math.floor(((await bytesRead()) - before) / layer.sizeBytes)).toBe(comparisons)
  }
})

test('a damaged file of the cache is fetched anew', async () => {
  const { layer, image } = await makeLayer('words ')
  const layers = await openLayers('one')
  await layers.put('project', layer, image)
  const cached = await layers.file('project', layer)
  const file = await open(cached, 'r+')
  await file.write('X', 100)
  await file.close()
  expect(await digestOfFile(await layers.file('project', layer))).toBe(layer.digest)
})

test('sealed frames give back every length of content, and no frame can be dropped, moved or added', async () => {
  const key = Buffer.alloc(32, 1)
  const header = Buffer.from('header')
  const collect = async (source: AsyncIterable<Uint8Array>): Promise<Buffer> => {
    const parts: Uint8Array[] = []
    for await (const part of source) parts.push(part)
    return Buffer.concat(parts)
  }
  const pieces = (content: Buffer, size: number): Readable =>
    Readable.from(
      (function* () {
        for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size)
      })(),
    )
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 200_000 }),
      fc.integer({ min: 1000, max: 100_000 }),
      async (length, size) => {
        const content = Buffer.alloc(length, 'content ')
        const sealed = await collect(sealFrames(key, header)(pieces(content, size)))
        expect((await collect(openFrames(key, header)(pieces(sealed, size)))).equals(content)).toBe(true)
        const frame = 65_536 + 16
        const forged = [sealed.subarray(0, -1), Buffer.concat([sealed, Buffer.alloc(16)]), sealed.subarray(frame)]
        if (length > 65_536) forged.push(sealed.subarray(0, frame))
        for (const each of forged) {
          const opened = openFrames(key, header)(pieces(Buffer.from(each), size))
          await expect(collect(opened)).rejects.toThrow()
        }
      },
    ),
    { numRuns: 20 },
  )
  await expect(collect(openFrames(key, Buffer.from('other'))(createReadStream('/dev/null')))).rejects.toThrow()
  expect(digestOf(Buffer.alloc(0))).toContain('e3b0c442')
})
