import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  lstatSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { ScannedEntry } from './listing.js'
import { scanFolder } from './scan-folder.js'

let base: string
let root: string
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'vm0-digests-'))
  root = join(base, 'folder')
  mkdirSync(root)
  vi.stubEnv('XDG_CACHE_HOME', join(base, 'cache'))
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.setSystemTime(Date.now() + 60_000)
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
  rmSync(base, { recursive: true })
})

const buckets = 4
/** No folder can be made in it. */
const nowhere = '/dev/null'

/** What a scan finds, and which files it had to read; what it learned is kept. */
async function scan() {
  const { listing, keep } = await scanFolder(root, { gitignore: false })
  const found = listing.buckets(buckets)
  await keep(found)
  const told = ({ path, kind, mode, sizeBytes, content, digest, local }: ScannedEntry) => {
    const { mtimeMs } = local.info
    return { path, kind, mode, sizeBytes, content, digest, place: local.path, mtimeMs }
  }
  return {
    entries: Array.from(listing, told),
    found,
    read: listing.fresh.map(({ path }) => path),
  }
}

test('a file is read again when anything of it has changed, its time set back included', async () => {
  const file = join(root, 'file')
  writeFileSync(file, 'one')
  const { atime, mtime } = statSync(file)
  expect((await scan()).read).toEqual(['file'])
  expect((await scan()).read).toEqual([])
  writeFileSync(file, 'two')
  utimesSync(file, atime, mtime)
  expect((await scan()).read).toEqual(['file'])
})

test('a file that was changed a moment ago is read again, and one that is gone is forgotten', async () => {
  writeFileSync(join(root, 'settled'), 'one')
  await scan()
  vi.setSystemTime(Date.now() - 60_000)
  writeFileSync(join(root, 'file'), 'one')
  expect((await scan()).read).toEqual(['file'])
  expect((await scan()).read).toEqual(['file'])
  vi.setSystemTime(Date.now() + 60_000)
  rmSync(join(root, 'settled'))
  expect((await scan()).read).toEqual(['file'])
  expect((await scan()).read).toEqual([])
})

test('a cache that is damaged, or that can be written nowhere, makes a scan slower only', async () => {
  mkdirSync(join(root, 'sub'))
  for (const name of ['file', 'sub/other']) writeFileSync(join(root, name), name)
  const { entries, found } = await scan()
  const folder = join(base, 'cache/vm0/digests')
  const path = join(folder, (await readdir(folder))[0] ?? '')
  const bytes = await readFile(path)
  const huge = '{"v":3,"rows":1000000000,"folders":1,"names":1,"buckets":1}\n'
  const older = bytes.toString('latin1').replace('"v":3', '"v":2')
  const damaged = [bytes.subarray(0, 40), bytes.subarray(0, -1), Buffer.from(huge), Buffer.from(older, 'latin1')]
  for (const each of [...damaged, Buffer.from('[]'), Buffer.alloc(99)]) {
    await writeFile(path, each)
    expect(await scan()).toEqual({ entries, found, read: ['file', 'sub', 'sub/other'] })
  }
  await rm(join(base, 'cache'), { recursive: true })
  vi.stubEnv('XDG_CACHE_HOME', nowhere)
  expect(await scan()).toMatchObject({ entries, found })
})

const folders = ['', 'a', 'a-b', 'a/b', 'é']
const path = fc
  .tuple(fc.constantFrom(...folders), fc.constantFrom('a', 'b', 'with\nline', '-', 'é'))
  .map((parts) => parts.filter(Boolean).join('/'))
const change = fc.record({ path, what: fc.constantFrom('write', 'append', 'link', 'chmod', 'remove', 'folder') })

function apply({ path: name, what }: { path: string; what: string }, number: number): void {
  const place = join(root, name)
  // What is in the way of a folder goes.
  for (let end = name.indexOf('/'); end > 0; end = name.indexOf('/', end + 1)) {
    const above = join(root, name.slice(0, end))
    if (!lstatSync(above, { throwIfNoEntry: false })?.isDirectory()) rmSync(above, { force: true })
  }
  mkdirSync(dirname(place), { recursive: true })
  const isFile = lstatSync(place, { throwIfNoEntry: false })?.isFile()
  if (what === 'append' && isFile) return appendFileSync(place, 'more')
  if (what === 'chmod' && isFile) return chmodSync(place, 0o755)
  rmSync(place, { recursive: true, force: true })
  if (what === 'folder') mkdirSync(place)
  if (what === 'link') symlinkSync('where'.padEnd(number), place)
  // Its length is one that no file had before: not every file system tells times finely.
  if (what === 'write') writeFileSync(place, 'x'.repeat(number))
}

test('however a folder changes, a scan finds the same with what is known of it as without', async () => {
  let number = 10
  const property = fc.asyncProperty(
    fc.array(fc.array(change, { maxLength: 6 }), { minLength: 2, maxLength: 5 }),
    async (steps) => {
      rmSync(base, { recursive: true })
      mkdirSync(root, { recursive: true })
      for (const changes of steps) {
        for (const each of changes) apply(each, number++)
        const known = await scan()
        vi.stubEnv('XDG_CACHE_HOME', nowhere)
        const { entries, found } = await scan()
        vi.stubEnv('XDG_CACHE_HOME', join(base, 'cache'))
        expect(known.entries).toEqual(entries)
        expect(known.found).toEqual(found)
        expect((await scan()).read.every((name) => entries.find((each) => each.path === name)?.kind === 'link')).toBe(
          true,
        )
      }
    },
  )
  await fc.assert(property, { numRuns: 60 })
})
