import { mkdtemp, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

test('what is known of a file is forgotten when anything of it has changed, its time set back included', async () => {
  const file = join(root, 'file')
  await writeFile(file, 'one')
  const info = await stat(file)
  const cache = await DigestCache.open(root)
  cache.learn('file', info, { content: 'one', digest: 'digest of one' }, later)
  await cache.save()
  expect((await DigestCache.open(root)).get('file', info)).toEqual({ content: 'one', digest: 'digest of one' })
  await writeFile(file, 'two')
  await utimes(file, info.atime, info.mtime)
  expect((await DigestCache.open(root)).get('file', await stat(file))).toBe(undefined)
})

test('a file that was changed a moment ago is read again, and one that is gone is forgotten', async () => {
  const cache = await DigestCache.open(root)
  await writeFile(join(root, 'file'), 'one')
  const info = await stat(join(root, 'file'))
  cache.learn('file', info, { content: 'one', digest: 'x' }, info.mtimeMs)
  cache.learn('gone', info, { content: 'one', digest: 'x' }, later)
  await cache.save()
  const second = await DigestCache.open(root)
  expect(second.get('file', info)).toBe(undefined)
  expect(second.get('gone', info)).toEqual({ content: 'one', digest: 'x' })
  await (await DigestCache.open(root)).save()
  expect((await DigestCache.open(root)).get('gone', info)).toBe(undefined)
})

test('a cache that is damaged, or that can be written nowhere, makes a scan slower only', async () => {
  vi.stubEnv('XDG_CACHE_HOME', '/proc/nowhere')
  await writeFile(join(root, 'file'), 'one')
  const { entries } = await scanFolder(root, { gitignore: false })
  expect(entries.map(({ path, content }) => [path, content.slice(0, 8)])).toEqual([['file', '7692c3ad']])
})
