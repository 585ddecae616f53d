import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { SavedCheckpoint } from './index.js'
import { describeTree, OverlayFixture, setXattr } from './overlay.test.fixture.js'

let overlay: OverlayFixture
beforeEach(async () => {
  overlay = await OverlayFixture.create()
  await overlay.start()
})
afterEach(() => overlay.close())

const at = (...parts: string[]): string => join(overlay.live, ...parts)

async function expectExact({ manifest }: SavedCheckpoint): Promise<void> {
  const live = describeTree(overlay.live, overlay.upper)
  await overlay.withRestored(manifest.layers, (root) => expect(describeTree(root)).toEqual(live))
}

test('the same change once more makes a chain that can be mounted', async () => {
  const as = (content: string): void => {
    writeFileSync(at('file'), content)
    for (const path of ['file', '']) utimesSync(at(path), 1, 1)
  }
  as('one')
  const first = await overlay.save()
  chmodSync(at('file'), 0o644)
  const same = await overlay.save()
  expect(same.manifest.layers).toEqual(first.manifest.layers)
  await expectExact(same)
  as('two')
  const second = await overlay.save()
  as('one')
  const third = await overlay.save()
  const [one, two] = second.manifest.layers
  expect(third.manifest.layers).toEqual([two, one])
  await expectExact(third)
})

test('of a big file that changed in part the blocks that changed are stored, and it is whole however often it does', async () => {
  const size = 8 * 1024 ** 2
  const content = randomBytes(size)
  mkdirSync(at('dir'))
  writeFileSync(at('dir/log'), content)
  writeFileSync(at('dir/other'), randomBytes(100_000))
  const first = await overlay.save()
  expect([first.manifest.v, first.manifest.layers[0]?.bases]).toEqual([1, undefined])
  const fd = openSync(at('dir/log'), 'r+')
  writeSync(fd, Buffer.from('changed'), 0, 7, size / 2)
  closeSync(fd)
  const [base] = first.manifest.layers
  const second = await overlay.save()
  expect(second.sizeBytes).toBeLessThan(64 * 1024)
  expect([second.manifest.v, second.manifest.layers[1]?.bases]).toEqual([2, [base]])
  await expectExact(second)
  // An attribute, so that its map begins off a multiple of eight; then what it has from two layers, and from one in turn.
  setXattr(Buffer.from(at('dir/log')), 'user.a', Buffer.from('b'))
  let stored = 0
  for (let round = 0; round < 40; round++) {
    appendFileSync(at('dir/log'), randomBytes(10_000))
    const saved = await overlay.save()
    expect(saved.manifest.layers.at(-1)?.bases?.length).toBeLessThanOrEqual(16)
    stored += saved.sizeBytes
    if (round % 13 === 2) await expectExact(saved)
  }
  // Now and then what was added lately is stored once more, all in one: there are 16 layers at most that it has blocks in.
  expect(stored).toBeLessThan(size / 2)
  // Another sandbox goes on from it, also where the file was cut, or moved to another place.
  const last = await overlay.save()
  await overlay.stop()
  await overlay.start(last.manifest.layers)
  truncateSync(at('dir/log'), size / 4)
  const cut = await overlay.save()
  expect(cut.sizeBytes).toBeLessThan(64 * 1024)
  await expectExact(cut)
  renameSync(at('dir/log'), at('moved'))
  await expectExact(await overlay.save())
})
