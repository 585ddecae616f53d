import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  type Stats,
} from 'node:fs'
import { join } from 'node:path'
import type { DiffEntry } from '@vm0/contract'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { listDirectory, xattrsAt } from '../capture/syscalls.js'
import { OpenImages } from '../erofs/open-images.js'
import type { ErofsReader } from '../erofs/reader.js'
import { applyStep, fileStep } from '../file-program.test.fixture.js'
import type { CheckpointManifest, DiffOptions } from '../index.js'
import { makeNode, OverlayFixture } from '../overlay.test.fixture.js'
import { diffPage } from './page.js'

let overlay: OverlayFixture
beforeEach(async () => {
  overlay = await OverlayFixture.create()
})
afterEach(() => overlay.close())

const at = (path: string): string => join(overlay.live, path)
const all: DiffOptions = { path: '/', patch: false, limit: 10_000, elsewhere: false }

/** With the base as the template that every sandbox has. */
async function open(maxLayers = 16): Promise<void> {
  const image = await overlay.baseImage()
  await overlay.reopen({ templateImage: () => Promise.resolve(image), maxLayers })
  await overlay.start()
}

/** What a program sees of every path, by what the diff calls a change. */
function look(root: string): Map<string, string> {
  const seen = new Map<string, string>()
  const walk = (fd: number, folder: string): void => {
    for (const { name } of listDirectory(fd)) {
      const path = Buffer.from(`/proc/self/fd/${fd}/${name}`, 'latin1')
      const status = lstatSync(path)
      const xattrs = xattrsAt(fd, name).filter(([key]) => !key.startsWith('trusted.overlay.'))
      const facts = [status.mode, status.uid, status.gid, contentOf(path, status), xattrs.toSorted()]
      seen.set(`${folder}/${name}`, JSON.stringify(facts))
      if (!status.isDirectory()) continue
      const inside = openSync(path, 'r')
      walk(inside, `${folder}/${name}`)
      closeSync(inside)
    }
  }
  const fd = openSync(root, 'r')
  walk(fd, '')
  closeSync(fd)
  return seen
}

function contentOf(path: Buffer, status: Stats): string {
  if (status.isSymbolicLink()) return readlinkSync(path, 'latin1')
  return status.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : String(status.rdev)
}

/** The same difference, from two looks. */
function expected(before: Map<string, string>, after: Map<string, string>): string[] {
  const lines: string[] = []
  for (const path of new Set([...before.keys(), ...after.keys()])) {
    if (!after.has(path)) lines.push(`removed ${path}`)
    else if (!before.has(path)) lines.push(`added ${path}`)
    else if (before.get(path) !== after.get(path)) lines.push(`changed ${path}`)
  }
  return lines.map((line) => Buffer.from(line, 'latin1').toString('utf8')).toSorted()
}

const told = (items: readonly DiffEntry[]): string[] => items.map(({ change, path }) => `${change} ${path}`).toSorted()

function makeBase(): void {
  mkdirSync(join(overlay.base, 'a/b/a'), { recursive: true })
  for (const path of ['a/a', 'a/b/b', 'a/b/a/a', 'b']) writeFileSync(join(overlay.base, path), `base ${path}`)
}

test('any two checkpoints differ by what a program sees differ in their trees, also across forks and squashes', async () => {
  makeBase()
  const saves = fc.array(fc.array(fileStep, { maxLength: 10, size: 'max' }), {
    minLength: 2,
    maxLength: 6,
    size: 'max',
  })
  const property = fc.asyncProperty(saves, fc.nat(), async (programs, forkAt) => {
    await open(2)
    const states: { manifest: CheckpointManifest; seen: Map<string, string> }[] = []
    try {
      for (const [round, steps] of programs.entries()) {
        if (states.length > 0 && round === forkAt % programs.length) {
          const from = states[forkAt % states.length]!.manifest
          await overlay.stop()
          await overlay.start(from.layers)
        }
        for (const step of steps) applyStep(overlay.live, step)
        const { manifest } = await overlay.save()
        states.push({ manifest, seen: look(overlay.live) })
      }
      for (const was of states)
        for (const is of states) {
          const { items, next } = await overlay.store.diff(was.manifest, is.manifest, all)
          expect(next).toBe(null)
          expect(told(items)).toEqual(expected(was.seen, is.seen))
        }
      const last = states.at(-1)!
      const { items } = await overlay.store.diff(null, last.manifest, all)
      expect(told(items)).toEqual(expected(look(overlay.base), last.seen))
    } finally {
      await overlay.stop()
    }
  })
  await fc.assert(property, { numRuns: Number(process.env.VM0_PROPERTY_RUNS ?? 8) })
}, 3_600_000)

test('pages of any length make one list, in the order of the paths, and each path alone is the same', async () => {
  makeBase()
  await open()
  for (const name of ['x', 'x-y', 'x/y', 'x/y/z', 'w'])
    if (name.startsWith('x')) mkdirSync(at(name), { recursive: true })
    else writeFileSync(at(name), name)
  for (let index = 0; index < 300; index++) writeFileSync(at(`x/f${index}`), 'new')
  rmSync(at('a'), { recursive: true })
  writeFileSync(Buffer.from(at('\xff'), 'latin1'), 'not UTF-8')
  const { manifest } = await overlay.save()
  const { items } = await overlay.store.diff(null, manifest, all)
  const paths = items.map(({ path }) => path)
  expect(paths.slice(0, 5)).toEqual(['/a', '/a/a', '/a/b', '/a/b/a', '/a/b/a/a'])
  expect(paths.indexOf('/x')).toBeLessThan(paths.indexOf('/x/f0'))
  expect(paths.indexOf('/x/y/z')).toBeLessThan(paths.indexOf('/x-y'))
  for (const limit of [1, 7, 100]) {
    const collected: DiffEntry[] = []
    let after: string | undefined
    for (let pages = 0; pages < 400; pages++) {
      const page = await overlay.store.diff(null, manifest, { ...all, limit, after })
      expect(page.items.length).toBeLessThanOrEqual(limit)
      collected.push(...page.items)
      if (page.next === null) break
      after = page.next
      if (limit === 1 && pages === 20) break
    }
    expect(collected).toEqual(items.slice(0, collected.length))
    if (limit > 1) expect(collected.length).toBe(items.length)
  }
  const inX = await overlay.store.diff(null, manifest, { ...all, path: '/x', elsewhere: true })
  expect(inX.items).toEqual(items.filter(({ path }) => path === '/x' || path.startsWith('/x/')))
  const elsewhere = items.filter(({ path, before, after }) => {
    const isFile = before?.type !== 'directory' && after?.type !== 'directory'
    return isFile && !path.startsWith('/x/')
  })
  expect(inX.elsewhere).toBe(elsewhere.length)
  const one = await overlay.store.diff(null, manifest, { ...all, path: '/x/f17' })
  expect(told(one.items)).toEqual(['added /x/f17'])
})

test('a text diff is what `patch` makes the one out of the other; what is no text is named', async () => {
  makeBase()
  const old = `${Array.from({ length: 40 }, (_, index) => `line ${index}`).join('\n')}\n`
  writeFileSync(join(overlay.base, 'text'), old)
  writeFileSync(join(overlay.base, 'unended'), 'one\ntwo')
  writeFileSync(join(overlay.base, 'gone'), 'gone\n')
  writeFileSync(join(overlay.base, 'mode'), 'same\n')
  writeFileSync(join(overlay.base, 'touched'), 'same\n')
  await open()
  const texts = {
    text: old.replace('line 3\n', 'line three\n').replace('line 30\n', ''),
    unended: 'one\n2\nthree',
    fresh: '- a\n+ b\n',
    empty: '',
  }
  for (const [name, content] of Object.entries(texts)) writeFileSync(at(name), content)
  rmSync(at('gone'))
  chmodSync(at('mode'), 0o755)
  utimesSync(at('touched'), 1, 1)
  symlinkSync('text', at('link'))
  writeFileSync(at('binary'), Buffer.from([1, 2, 0, 3]))
  writeFileSync(at('latin1'), Buffer.from('caf\xe9', 'latin1'))
  writeFileSync(at('large'), 'x'.repeat(1024 ** 2 + 1))
  makeNode(Buffer.from(at('fifo')), 0o010644)
  const { manifest } = await overlay.save()
  const { items } = await overlay.store.diff(null, manifest, { ...all, patch: true })
  const found = Object.fromEntries(items.map((entry) => [entry.path.slice(1), entry]))
  expect(Object.keys(found).toSorted()).toEqual(
    [...Object.keys(texts), 'gone', 'mode', 'link', 'binary', 'latin1', 'large', 'fifo'].toSorted(),
  )
  expect(found.mode).toMatchObject({ contentChanged: false, before: { mode: 0o644 }, after: { mode: 0o755 } })
  expect(found.mode).not.toHaveProperty('patch')
  expect(found.text?.patch).toContain('-line 3\n+line three\n')
  expect(found.fresh?.patch).toBe('@@ -0,0 +1,2 @@\n+- a\n++ b\n')
  expect(found.link?.patch).toBe('@@ -0,0 +1,1 @@\n+text\n\\ No newline at end of file\n')
  expect([found.binary, found.latin1, found.large, found.fifo].map((entry) => entry?.patchLeftOut)).toEqual([
    'binary',
    'binary',
    'large',
    'special',
  ])
  const scratch = join(overlay.directory, 'patched')
  mkdirSync(scratch)
  for (const name of ['text', 'unended', 'gone']) {
    writeFileSync(join(scratch, name), readFileSync(join(overlay.base, name)))
    const input = `--- a/${name}\n+++ b/${name}\n${found[name]?.patch}`
    execFileSync('patch', ['-s', join(scratch, name)], { input })
  }
  for (const name of ['text', 'unended'] as const) expect(readFileSync(join(scratch, name), 'utf8')).toBe(texts[name])
  expect(readFileSync(join(scratch, 'gone'), 'utf8')).toBe('')
})

test('texts that have nothing in common are told as one replaced by the other, within seconds', async () => {
  const lines = (seed: number): string =>
    Array.from({ length: 100_000 }, (_, index) => ((index * 7919 + seed) % 1_000_003).toString(36)).join('\n')
  writeFileSync(join(overlay.base, 'large'), lines(1))
  await open()
  writeFileSync(at('large'), lines(500_000))
  const { manifest } = await overlay.save()
  const startedMs = performance.now()
  const { items } = await overlay.store.diff(null, manifest, { ...all, patch: true })
  expect(performance.now() - startedMs).toBeLessThan(20_000)
  expect(items[0]?.patch?.split('\n')[0]).toBe('@@ -1,100000 +1,100000 @@')
})

test('what both checkpoints have in common is not read: a name of it costs a lookup, the rest nothing', async () => {
  await open()
  mkdirSync(at('many'))
  for (let index = 0; index < 20_000; index++) writeFileSync(at(`many/${index}`), 'x')
  const first = await overlay.save()
  writeFileSync(at('one'), 'changed')
  writeFileSync(at('many/7'), 'changed')
  const second = await overlay.save()
  const images = await overlay.store.layerImages(second.manifest)
  expect(images.length).toBe(first.manifest.layers.length + 1)
  const opened = new OpenImages()
  const [shared, own] = images.map((image) => opened.open(image)) as [ErofsReader, ErofsReader]
  const inodes = vi.spyOn(shared, 'inode')
  const listings = vi.spyOn(shared, 'entries')
  const { items } = diffPage({ before: [], after: [own], shared: [shared] }, all)
  expect(told(items)).toEqual(['added /one', 'changed /many/7'])
  expect(inodes.mock.calls.length).toBeLessThan(10)
  expect(listings).not.toHaveBeenCalled()
  opened.close()
})
