import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { describeTree, makeNode, OverlayFixture } from './overlay.test.fixture.js'

/** The long form has a million. */
const entries = Number(process.env.VM0_TREE_ENTRIES || 50_000)
const perFolder = 500

let overlay: OverlayFixture
beforeEach(async () => {
  overlay = await OverlayFixture.create()
})
afterEach(() => overlay.close())
const at = (path: string): string => join(overlay.live, path)

test('a tree with very many entries is saved, changed, saved again and restored, whole', async () => {
  await overlay.start([], '^has_journal', { bytes: 32 * 1024 ** 3, inodes: entries + entries / perFolder + 1000 })
  for (let number = 0; number < entries; number++) {
    const folder = at(`d${Math.floor(number / perFolder)}`)
    if (number % perFolder === 0) mkdirSync(folder)
    closeSync(openSync(join(folder, `f${number}`), 'w'))
  }
  const first = await overlay.save()
  expect(first.changedFiles).toBeGreaterThanOrEqual(entries)
  writeFileSync(at('d7/f3501'), 'changed')
  rmSync(at('d8'), { recursive: true })
  const second = await overlay.save()
  expect(second.changedFiles).toBeLessThan(perFolder + 10)
  expect(second.sizeBytes).toBeLessThan(first.sizeBytes / 10)
  await overlay.withRestored(second.manifest.layers, (root) => {
    const folders = readdirSync(root).toSorted()
    const wanted = Array.from({ length: entries / perFolder }, (_, index) => `d${index}`).filter(
      (name) => name !== 'd8',
    )
    expect(folders).toEqual(wanted.toSorted())
    let found = 0
    for (const folder of folders) {
      const first = Number(folder.slice(1)) * perFolder
      const names = readdirSync(join(root, folder))
      found += names.length
      expect(new Set(names)).toEqual(new Set(Array.from({ length: perFolder }, (_, index) => `f${first + index}`)))
    }
    expect(found).toBe(entries - perFolder)
    expect(statSync(join(root, 'd7/f3501')).size).toBe(7)
  })
})

test('loops of links, pipes, sockets that nobody listens at, and a path of 4,095 bytes are restored as they were', async () => {
  await overlay.start()
  symlinkSync('b', at('a'))
  symlinkSync('a', at('b'))
  symlinkSync('self', at('self'))
  symlinkSync('..', at('up'))
  makeNode(Buffer.from(at('pipe')), 0o010644)
  makeNode(Buffer.from(at('socket')), 0o140600)
  // As long as a path may be that a program names, as a sandbox sees it: with the NUL at its end it has 4,096 bytes.
  let inside = ''
  while (inside.length < 4095 - 256) inside += `/${'p'.repeat(250)}`
  const fds: number[] = []
  let folder = overlay.live
  for (const name of inside.split('/').slice(1)) {
    mkdirSync(`${folder}/${name}`)
    fds.push(openSync(`${folder}/${name}`, 'r'))
    folder = `/proc/self/fd/${fds.at(-1)}`
  }
  writeFileSync(`${folder}/${'f'.repeat(4095 - inside.length - 1)}`, 'at the end')
  for (const fd of fds) closeSync(fd)
  const seen = describeTree(overlay.live, overlay.upper)
  const longest = seen.find((line) => line.includes('ffff'))?.split(' ')[0]
  expect(longest).toHaveLength(4095)
  const { manifest } = await overlay.save()
  expect(await overlay.withRestored(manifest.layers, (root) => describeTree(root))).toEqual(seen)
})

test('a huge file in which one byte changed is told as changed, and not read into a patch', async () => {
  const template = `sha256:${'0'.repeat(64)}`
  const image = await overlay.baseImage()
  await overlay.reopen({ templateImage: () => Promise.resolve(image) })
  await overlay.start()
  const write = (offset: number, text: string): void => {
    const fd = openSync(at('huge'), 'a+')
    closeSync(fd)
    const file = openSync(at('huge'), 'r+')
    writeSync(file, text, offset)
    closeSync(file)
  }
  write(0, 'first')
  write(6 * 1024 ** 3, 'last')
  const before = (await overlay.save()).manifest
  write(5, '!')
  const after = (await overlay.save()).manifest
  expect(after.template).toBe(template)
  const { items } = await overlay.store.diff(before, after, { path: '/', elsewhere: false, limit: 10, patch: true })
  expect(items).toMatchObject([{ path: '/huge', contentChanged: true, patchLeftOut: 'large' }])
  expect(items[0]).not.toHaveProperty('patch')
})
