import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { openBlobDirectory } from '@vm0/backends'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { digestOfFile, objectName } from '../digest.js'
import { wholeImage } from '../erofs/open-images.js'
import { applyStep, fileStep } from '../file-program.test.fixture.js'
import type { CheckpointManifest, LayerReference } from '../index.js'
import { describeTree, OverlayFixture, setXattr } from '../overlay.test.fixture.js'
import { chooseSquash, squashLayers } from './index.js'

let overlay: OverlayFixture
beforeEach(async () => {
  overlay = await OverlayFixture.create()
})
afterEach(() => overlay.close())

const at = (path: string): string => join(overlay.live, path)

function makeBase(): void {
  mkdirSync(join(overlay.base, 'a/b/a'), { recursive: true })
  for (const path of ['a/a', 'a/b/b', 'a/b/a/a', 'b']) writeFileSync(join(overlay.base, path), `base ${path}`)
}

/** One layer for those from `from` up to `to`, over what is below them. */
async function squash(layers: readonly LayerReference[], from: number, to: number): Promise<LayerReference> {
  const images = await overlay.store.layerImages({ layers } as CheckpointManifest)
  const image = join(overlay.directory, `squashed-${Math.random()}`)
  const below = [...images.slice(0, from).toReversed(), wholeImage(await overlay.baseImage())]
  const reference = await squashLayers({ layers: images.slice(from, to).toReversed(), below, image })
  expect((await stat(image)).size).toBe(reference.sizeBytes)
  const blobs = await openBlobDirectory(join(overlay.directory, 'objects'))
  await blobs.putFile(objectName('layers', reference.digest), image)
  return reference
}

async function expectSame(layers: readonly LayerReference[], others: readonly LayerReference[]): Promise<void> {
  const before = await overlay.withRestored(layers, (root) => describeTree(root))
  await overlay.withRestored(others, (root) => expect(describeTree(root)).toEqual(before))
}

test('any layers of a chain made one show the same as before', async () => {
  makeBase()
  const saves = fc.array(fc.array(fileStep, { maxLength: 12, size: 'max' }), {
    minLength: 2,
    maxLength: 7,
    size: 'max',
  })
  const property = fc.asyncProperty(saves, fc.nat(), fc.nat(), async (programs, first, length) => {
    await overlay.start()
    try {
      let layers: readonly LayerReference[] = []
      for (const steps of programs) {
        for (const step of steps) applyStep(overlay.live, step)
        layers = (await overlay.save()).manifest.layers
      }
      if (layers.length === 0) return
      const from = first % layers.length
      const to = from + 1 + (length % (layers.length - from))
      for (const [start, end] of [
        [from, to],
        [0, layers.length],
      ] as const) {
        const one = await squash(layers, start, end)
        await expectSame(layers, [...layers.slice(0, start), one, ...layers.slice(end)])
      }
    } finally {
      await overlay.stop()
    }
  })
  await fc.assert(property, { numRuns: Number(process.env.VM0_PROPERTY_RUNS ?? 12) })
}, 3_600_000)

test('a whiteout goes when there is nothing left that it hides, and stays when there is', async () => {
  makeBase()
  await overlay.start()
  mkdirSync(at('own'))
  writeFileSync(at('own/file'), 'saved, then deleted')
  writeFileSync(at('own/other'), 'kept')
  await overlay.save()
  rmSync(at('own/file'))
  rmSync(at('a/b'), { recursive: true })
  const { manifest } = await overlay.save()
  const one = await squash(manifest.layers, 0, 2)
  await expectSame(manifest.layers, [one])
  await overlay.withRestored([one], (root) => {
    const shown = describeTree(root).map((line) => line.split(' ')[0])
    expect(shown).toEqual(['/a', '/a/a', '/b', '/own', '/own/other'])
  })
})

test('a layer that an earlier version packed with mkfs.erofs is mounted, built on and squashed', async () => {
  makeBase()
  await overlay.start()
  mkdirSync(at('own'))
  for (const name of ['one', 'two', 'three']) {
    writeFileSync(at(`own/${name}`), Buffer.alloc(20_000, name))
    setXattr(Buffer.from(at(`own/${name}`)), 'user.shared', Buffer.from('the same on all'))
  }
  linkSync(at('own/one'), at('own/link'))
  rmSync(at('a/b'), { recursive: true })
  mkdirSync(at('a/b'))
  const tree = describeTree(overlay.live, overlay.upper)
  const image = join(overlay.directory, 'packed')
  const args = ['--quiet', '-Eforce-inode-extended', '-U', '00000000-0000-0000-0000-000000000000', image, overlay.upper]
  execFileSync('mkfs.erofs', args, { env: { ...process.env, SOURCE_DATE_EPOCH: '4102444800' } })
  const old = { digest: await digestOfFile(image), sizeBytes: (await stat(image)).size }
  const blobs = await openBlobDirectory(join(overlay.directory, 'objects'))
  await blobs.putFile(objectName('layers', old.digest), image)
  await overlay.withRestored([old], (root) => expect(describeTree(root)).toEqual(tree))
  await overlay.stop()
  await overlay.start([old])
  writeFileSync(at('own/two'), 'changed')
  const { layers } = (await overlay.save()).manifest
  expect(layers.length).toBe(2)
  await expectSame(layers, [await squash(layers, 0, 2)])
})

test('a long chain gets short in the background, while every checkpoint stays as it was', async () => {
  makeBase()
  const errors: unknown[] = []
  const options = {
    templateImage: () => overlay.baseImage(),
    maxLayers: 2,
    onError: (error: unknown) => errors.push(error),
  }
  await overlay.reopen(options)
  await overlay.start()
  const saved: { layers: readonly LayerReference[]; tree: string[] }[] = []
  for (let round = 0; round < 24; round++) {
    writeFileSync(at(`file${round % 5}`), `round ${round}`)
    if (round % 4 === 3) rmSync(at(`file${(round + 1) % 5}`), { force: true })
    const { layers } = (await overlay.save()).manifest
    saved.push({ layers, tree: describeTree(overlay.live, overlay.upper) })
  }
  expect(errors).toEqual([])
  expect(Math.max(...saved.map(({ layers }) => layers.length))).toBeLessThanOrEqual(3 * 2 + 1)
  expect(new Set(saved.map(({ layers }) => layers[0]?.digest)).size).toBeGreaterThan(1)
  for (const { layers, tree } of saved)
    await overlay.withRestored(layers, (root) => expect(describeTree(root)).toEqual(tree))
  // The next sandbox goes on from the shorter chain.
  const last = saved.at(-1)?.layers ?? []
  await overlay.stop()
  await overlay.start(last)
  writeFileSync(at('file0'), 'again')
  const { layers } = (await overlay.save()).manifest
  const tree = describeTree(overlay.live, overlay.upper)
  await overlay.withRestored(layers, (root) => expect(describeTree(root)).toEqual(tree))
})

test('a squash takes what must go, and a large old layer only when as much has come on top of it', () => {
  const small = Array.from({ length: 16 }, () => 10)
  expect(chooseSquash(small, 16)).toBe(undefined)
  expect(chooseSquash([10, ...small], 16)).toBe(0)
  expect(chooseSquash([1_000, ...small], 16)).toBe(1)
  expect(chooseSquash([1_000_000, 400, 300, 50, ...small], 16)).toBe(3)
})

test('however a session goes on, its chain stays short and a byte is copied a few times only', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 1, maxLength: 400 })
  fc.assert(
    fc.property(sizes, (written) => {
      let chain: number[] = []
      let copied = 0
      for (const size of written) {
        chain.push(size)
        const from = chooseSquash(chain, 16)
        if (from === undefined) continue
        const merged = chain.slice(from).reduce((sum, each) => sum + each, 0)
        copied += merged
        chain = [...chain.slice(0, from), merged]
        expect(chain.length).toBeLessThanOrEqual(8)
      }
      const total = written.reduce((sum, each) => sum + each, 0)
      expect(copied).toBeLessThanOrEqual(total * (2 + Math.log2(total)))
    }),
  )
})
