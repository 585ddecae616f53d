import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { DigestCache } from './digest-cache.js'
import { scanFolder } from './scan-folder.js'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'vm0-digests-'))
  vi.stubEnv('XDG_CACHE_HOME', join(root, 'cache'))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(root, { recursive: true })
})

const later = Date.now() + 60_000
const sha256 = (text: string) => createHash('sha256').update(text)
const known = (text: string) => ({ content: sha256(text).digest('hex'), digest: sha256(`of ${text}`).digest('base64') })

test('what is known of a file is forgotten when anything of it has changed, its time set back included', async () => {
  const file = join(root, 'file')
  await writeFile(file, 'one')
  const info = await stat(file)
  const cache = await DigestCache.open(root)
  cache.learn('file', info, known('one'), later)
  await cache.save()
  expect((await DigestCache.open(root)).get('file', info)).toMatchObject(known('one'))
  await writeFile(file, 'two')
  await utimes(file, info.atime, info.mtime)
  expect((await DigestCache.open(root)).get('file', await stat(file))).toBe(undefined)
})

test('a file that was changed a moment ago is read again, and one that is gone is forgotten', async () => {
  const cache = await DigestCache.open(root)
  await writeFile(join(root, 'file'), 'one')
  const info = await stat(join(root, 'file'))
  cache.learn('file', info, known('one'), info.mtimeMs)
  cache.learn('gone', info, known('one'), later)
  await cache.save()
  const second = await DigestCache.open(root)
  expect(second.get('file', info)).toBe(undefined)
  expect(second.get('gone', info)).toMatchObject(known('one'))
  await (await DigestCache.open(root)).save()
  expect((await DigestCache.open(root)).get('gone', info)).toBe(undefined)
})

test('a cache that is damaged, or that can be written nowhere, makes a scan slower only', async () => {
  const scanned = async () => (await scanFolder(root, { gitignore: false })).entries.map(({ path }) => path)
  const cache = await DigestCache.open(root)
  cache.learn('file', await stat(root), known('one'), later)
  await cache.save()
  const [saved = ''] = await readdir(join(root, 'cache/vm0/digests'))
  const path = join(root, 'cache/vm0/digests', saved)
  const bytes = await readFile(path)
  for (const damaged of [
    bytes.subarray(0, 40),
    Buffer.from('{"v":2,"rows":1000000000}\n'),
    Buffer.from('[]'),
    Buffer.alloc(99),
  ]) {
    await writeFile(path, damaged)
    expect(await scanned()).toContain('cache')
  }
  await rm(join(root, 'cache'), { recursive: true })
  vi.stubEnv('XDG_CACHE_HOME', '/proc/nowhere')
  await writeFile(join(root, 'file'), 'one')
  const { entries } = await scanFolder(root, { gitignore: false })
  expect(entries.map(({ path, content }) => [path, content.slice(0, 8)])).toEqual([['file', '7692c3ad']])
})

test('files are found however the folder has changed since', async () => {
  const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c/d', 'é', 'with\nline', 'f', 'g', 'h'))
  const info = await stat(root)
  const property = fc.asyncProperty(names, names, async (before, after) => {
    const cache = await DigestCache.open(root)
    for (const name of before) cache.learn(name, info, known(name), later)
    await cache.save()
    const second = await DigestCache.open(root)
    for (const name of after) {
      if (before.includes(name)) expect(second.get(name, info)).toMatchObject(known(name))
      else expect(second.get(name, info)).toBe(undefined)
    }
  })
  await fc.assert(property, { numRuns: 60 })
})
