import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { wholeImage } from '../erofs/open-images.js'
import { applyStep, fileStep } from '../file-program.test.fixture.js'
import type { CheckpointManifest, LayerReference } from '../index.js'
import { describeTree, OverlayFixture } from '../overlay.test.fixture.js'
import { shadowedChanges } from './index.js'

let overlay: OverlayFixture
let folder: string
beforeEach(async () => {
  overlay = await OverlayFixture.create()
  folder = mkdtempSync(join(tmpdir(), 'vm0-shadow-'))
})
afterEach(async () => {
  await overlay.close()
  rmSync(folder, { recursive: true })
})

const at = (path: string): string => join(overlay.live, path)
let serial = 0

function imageOf(tree: string): string {
  const image = join(folder, `${serial++}.erofs`)
  execFileSync('mkfs.erofs', ['--quiet', image, tree])
  return image
}

async function shadowed(layers: readonly LayerReference[], before: string, after: string, limit = 1000) {
  const images = await overlay.store.layerImages({ projectId: 'default', layers } as CheckpointManifest)
  return shadowedChanges({ layers: images.toReversed(), before: wholeImage(before), after: wholeImage(after), limit })
}

function put(root: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
}

test('what a session has changed, removed or replaced is told where the template has it otherwise, and nothing else', async () => {
  const files = { 'etc/a': '1', 'etc/b': '1', 'etc/c': '1', 'lib/x/one': '1', 'lib/y/two': '1', same: '1', gone: '1' }
  put(overlay.base, files)
  const after = join(folder, 'after')
  put(after, {
    ...files,
    'etc/a': '2',
    'etc/b': '2',
    'etc/c': '2',
    'etc/d': '2',
    'lib/x/one': '2',
    'lib/x/new': '2',
    'lib/y/two': '2',
  })
  rmSync(join(after, 'gone'))
  for (const empty of ['lib/x/empty', 'both']) mkdirSync(join(after, empty))
  await overlay.start()
  writeFileSync(at('etc/a'), 'mine')
  rmSync(at('etc/b'))
  writeFileSync(at('etc/d'), 'mine')
  writeFileSync(at('same'), 'mine')
  writeFileSync(at('gone'), 'mine')
  rmSync(at('lib/x'), { recursive: true })
  mkdirSync(at('lib/x'))
  rmSync(at('lib/y'), { recursive: true })
  symlinkSync('x', at('lib/y'))
  mkdirSync(at('both'))
  const { layers } = (await overlay.save()).manifest
  const found = await shadowed(layers, imageOf(overlay.base), imageOf(after))
  expect(found).toEqual({
    items: [
      { path: '/etc/a', template: 'changed', session: 'changed' },
      { path: '/etc/b', template: 'changed', session: 'removed' },
      { path: '/etc/d', template: 'added', session: 'changed' },
      { path: '/gone', template: 'removed', session: 'changed' },
      { path: '/lib/x/empty', template: 'added', session: 'removed' },
      { path: '/lib/x/new', template: 'added', session: 'removed' },
      { path: '/lib/x/one', template: 'changed', session: 'removed' },
      { path: '/lib/y/two', template: 'changed', session: 'removed' },
    ],
    more: false,
  })
  expect(await shadowed(layers, imageOf(overlay.base), imageOf(after), 2)).toMatchObject({
    more: true,
    items: [{}, {}],
  })
  expect((await shadowed([], imageOf(overlay.base), imageOf(after))).items).toEqual([])
})

/** The paths of a tree as they are told: what is no UTF-8 by its replacement. */
const pathsOf = (root: string): Set<string> =>
  new Set(
    describeTree(root).map((line) => {
      const path = line.slice(0, line.search(/ (?:=|[0-7]{5,6} \d+:\d+ )/))
      return Buffer.from(path, 'latin1').toString('utf8')
    }),
  )

test('of whatever files, what is not told is seen in the new template as it is there', async () => {
  const steps = fc.array(fileStep, { maxLength: 12, size: 'max' })
  const property = fc.asyncProperty(steps, steps, steps, async (first, second, own) => {
    rmSync(overlay.base, { recursive: true })
    mkdirSync(overlay.base)
    for (const step of first) applyStep(overlay.base, step)
    const before = imageOf(overlay.base)
    await overlay.start()
    let layers: readonly LayerReference[]
    try {
      for (const step of own) applyStep(overlay.live, step)
      layers = (await overlay.save()).manifest.layers
    } finally {
      await overlay.stop()
    }
    const old = pathsOf(overlay.base)
    for (const step of second) applyStep(overlay.base, step)
    const after = imageOf(overlay.base)
    const { items } = await shadowed(layers, before, after)
    const told = new Set(items.map(({ path }) => path))
    await overlay.withRestored(layers, (root) => {
      const seen = pathsOf(root)
      for (const { path, session } of items) expect(seen.has(path), path).toBe(session === 'changed')
      // What only the new template has, and nothing hides, is there.
      for (const path of pathsOf(overlay.base)) if (!old.has(path) && !told.has(path)) expect(seen).toContain(path)
    })
  })
  await fc.assert(property, { numRuns: Number(process.env.VM0_PROPERTY_RUNS ?? 8) })
}, 600_000)
