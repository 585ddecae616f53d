import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { InodeTable } from './capture/inode-table.js'
import { OpenDirectory } from './capture/open-directory.js'
import { AskedStamps } from './capture/stamps.js'
import { listDirectory } from './capture/syscalls.js'
import type { SavedCheckpoint } from './index.js'
import { describeTree, mapShared, OverlayFixture, setXattr } from './overlay.test.fixture.js'

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

test('a checkpoint after which nothing changed has no layer of its own', async () => {
  mkdirSync(at('work'))
  writeFileSync(at('work/file'), 'content')
  const first = await overlay.save()
  const second = await overlay.save()
  expect(second.manifest.layers).toEqual(first.manifest.layers)
  expect(second).toMatchObject({ changedFiles: 0, sizeBytes: 0 })
})

test('where only what is to be ignored has changed nothing is stored; the next checkpoint has that too', async () => {
  const ignored = ['home/agent', 'home/agent.json']
  mkdirSync(at('home/agent/deep'), { recursive: true })
  writeFileSync(at('home/agent.json'), '1')
  writeFileSync(at('work'), '1')
  expect(await overlay.saveIfChanged(ignored)).toBeDefined()
  writeFileSync(at('home/agent/deep/record'), '1')
  writeFileSync(at('home/agent.json'), '2')
  expect(await overlay.saveIfChanged(ignored)).toBeUndefined()
  rmSync(at('home/agent/deep'), { recursive: true })
  expect(await overlay.saveIfChanged(ignored)).toBeUndefined()
  // A name that only begins in the same way is no state of the agent's.
  writeFileSync(at('home/agent.json.old'), '1')
  await expectExact((await overlay.saveIfChanged(ignored)) as SavedCheckpoint)
  rmSync(at('work'))
  await expectExact((await overlay.saveIfChanged(ignored)) as SavedCheckpoint)
  rmSync(at('home/agent.json.old'))
  expect(await overlay.saveIfChanged(ignored)).toBeDefined()
  expect(await overlay.saveIfChanged(ignored)).toBeUndefined()
})

test('a layer holds what changed and no more', async () => {
  mkdirSync(at('work'))
  for (let number = 0; number < 500; number++) writeFileSync(at(`work/file${number}`), Buffer.alloc(10_000, number))
  const first = await overlay.save()
  expect(first.changedFiles).toBe(500)
  appendFileSync(at('work/file7'), 'more')
  chmodSync(at('work/file8'), 0o600)
  rmSync(at('work/file9'))
  const second = await overlay.save()
  expect(second.changedFiles).toBe(3)
  expect(second.sizeBytes).toBeLessThan(60_000)
  expect(second.manifest.layers.length).toBe(2)
  await expectExact(second)
})

test('a file that was saved and then deleted is gone, also when its name comes back as something else', async () => {
  mkdirSync(at('a/b'), { recursive: true })
  writeFileSync(at('a/b/file'), 'old')
  writeFileSync(at('a/other'), 'old')
  await overlay.save()
  rmSync(at('a/b'), { recursive: true })
  writeFileSync(at('a/b'), 'now a file')
  rmSync(at('a/other'))
  mkdirSync(at('a/other'))
  await expectExact(await overlay.save())
  rmSync(at('a/b'))
  mkdirSync(at('a/b'))
  writeFileSync(at('a/b/new'), 'new')
  await expectExact(await overlay.save())
})

test('a folder that was renamed away and back, and so became opaque in place, keeps what earlier layers hold', async () => {
  writeFileSync(join(overlay.base, 'x'), '')
  await overlay.stop()
  mkdirSync(join(overlay.base, 'merged'))
  await overlay.start()
  writeFileSync(at('merged/touched'), '')
  mkdirSync(at('pure'))
  writeFileSync(at('pure/file'), 'saved once')
  await overlay.save()
  renameSync(at('pure'), at('merged/pure'))
  renameSync(at('merged/pure'), at('pure'))
  await expectExact(await overlay.save())
})

test('all names of an inode stay one inode, whichever of them changed, and when a folder that has some is renamed', async () => {
  for (const name of ['one', 'two', 'three']) mkdirSync(at(name))
  writeFileSync(at('one/file'), 'first')
  linkSync(at('one/file'), at('two/file'))
  linkSync(at('one/file'), at('three/file'))
  await expectExact(await overlay.save())
  appendFileSync(at('two/file'), ' second')
  await expectExact(await overlay.save())
  renameSync(at('three'), at('four'))
  await expectExact(await overlay.save())
  rmSync(at('one/file'))
  await expectExact(await overlay.save())
})

test('a store through a shared mapping is saved, though the file is not touched otherwise', async () => {
  writeFileSync(at('mapped'), Buffer.alloc(8192, 'a'))
  const memory = mapShared(at('mapped'), 8192)
  memory.fill('b'.charCodeAt(0))
  await expectExact(await overlay.save())
  memory.fill('c'.charCodeAt(0))
  const { manifest } = await overlay.save()
  memory.unmap()
  await overlay.withRestored(manifest.layers, (root) =>
    expect(readFileSync(join(root, 'mapped'), 'utf8')).toBe('c'.repeat(8192)),
  )
})

test('what a process does while a checkpoint is made is in it up to the freeze, and not after it', async () => {
  const program = `
    const fs = require('fs')
    for (let n = 0; ; n = (n + 1) % 300) {
      const file = n + '.txt'
      if (n % 7 === 3) fs.rmSync(file, { force: true })
      else if (n % 7 === 5) { fs.rmSync('d' + n, { recursive: true, force: true }); fs.mkdirSync('d' + n); fs.writeFileSync('d' + n + '/' + process.hrtime.bigint(), '') }
      else fs.appendFileSync(file, process.hrtime.bigint() + '\\n')
      if (n % 11 === 0) fs.renameSync(file, 'renamed' + n % 3)
      if (n === 299) console.log('round')
    }`
  const child = spawn(
    process.execPath,
    ['-e', program.replace('renameSync(file', 'existsSync(file) && fs.renameSync(file')],
    {
      cwd: overlay.live,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  try {
    for (let round = 0; round < 8; round++) {
      await once(child.stdout, 'data')
      let frozen: string[] = []
      const saved = await overlay.save(async (capture) => {
        child.kill('SIGSTOP')
        await stopped(child.pid as number)
        frozen = describeTree(overlay.live, overlay.upper)
        await capture()
        child.kill('SIGCONT')
      })
      await overlay.withRestored(saved.manifest.layers, (root) => expect(describeTree(root)).toEqual(frozen))
    }
  } finally {
    child.kill('SIGKILL')
  }
})

async function stopped(pid: number): Promise<void> {
  while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) await new Promise(setImmediate)
}

test('folders with many entries, odd names, deep paths, and attributes of all sizes', async () => {
  mkdirSync(at('many'))
  for (let number = 0; number < 3000; number++)
    closeSync(openSync(Buffer.from(at(`many/${'\xe9\xff-+.'.repeat(number % 40)}${number}`), 'latin1'), 'w'))
  // Deeper than any path that could be named at once.
  let deep = overlay.live
  const fds: number[] = []
  for (let level = 0; level < 1500; level++) {
    mkdirSync(`${deep}/level`)
    const fd = openSync(`${deep}/level`, 'r')
    fds.push(fd)
    deep = `/proc/self/fd/${fd}`
  }
  writeFileSync(`${deep}/bottom`, 'here')
  for (const fd of fds) closeSync(fd)
  for (const size of [1, 100, 1000, 3500]) {
    writeFileSync(at(`xattrs${size}`), Buffer.alloc(4000, 'x'))
    setXattr(Buffer.from(at(`xattrs${size}`)), 'user.value', Buffer.alloc(size, size))
  }
  setXattr(Buffer.from(overlay.live), 'user.root', Buffer.alloc(3500, 'r'))
  const fd = openSync(at('sparse'), 'w')
  for (const offset of [0, 5 * 2 ** 20, 3 * 2 ** 30]) writeSync(fd, 'data', offset)
  closeSync(fd)
  const saved = await overlay.save()
  expect(saved.sizeBytes).toBeLessThan(40 * 2 ** 20)
  await overlay.withRestored(saved.manifest.layers, (root) => {
    expect(describeTree(root).length).toBe(3000 + 1501 + 4 + 2)
  })
})

test('a save that fails half-way changes nothing: the next one has it all', async () => {
  writeFileSync(at('file'), 'one')
  await overlay.save()
  writeFileSync(at('file'), 'two')
  await expect(overlay.save(() => Promise.reject(new Error('no freezer')))).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
  })
  await expectExact(await overlay.save())
})

test('a disk that is full in the middle of a save is told; with room again, the next one has it all', async () => {
  await overlay.stop()
  const full = join(overlay.directory, 'full')
  await overlay.mount(full, '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs')
  await overlay.reopen({ scratch: join(full, 'scratch') })
  await overlay.start()
  writeFileSync(at('small'), 'fits')
  const first = await overlay.save()
  writeFileSync(at('large'), randomBytes(5_000_000))
  rmSync(at('small'))
  await expect(overlay.save()).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' })
  await expectRestored(first, ['/small'])
  execFileSync('mount', ['-o', 'remount,size=100m', full])
  const second = await overlay.save()
  await expectExact(second)
  await expectRestored(second, ['/large'])
})

async function expectRestored({ manifest }: SavedCheckpoint, names: string[]): Promise<void> {
  await overlay.withRestored(manifest.layers, (root) =>
    expect(describeTree(root).map((line) => line.split(' ')[0])).toEqual(names),
  )
}

test('the table of inodes tells the same times as asking for each, whatever is going on', async () => {
  for (let number = 0; number < 300; number++) writeFileSync(at(`file${number}`), 'x'.repeat(number))
  for (let number = 0; number < 300; number += 3) chmodSync(at(`file${number}`), 0o600)
  const root = openSync(overlay.upper, 'r')
  const table = InodeTable.read(root) as InodeTable
  const asked = new AskedStamps()
  for (const { name, ino } of listDirectory(root)) {
    table.load(ino)
    asked.load(ino, OpenDirectory.root(root), name)
    expect([table.seconds, table.nanoseconds]).toEqual([asked.seconds, asked.nanoseconds])
  }
  closeSync(root)
})

test('without its index a chain starts again from the layers that the sandbox was mounted from', async () => {
  writeFileSync(at('file'), 'one')
  const first = await overlay.save()
  await overlay.stop()
  await overlay.start(first.manifest.layers)
  rmSync(at('file'))
  writeFileSync(at('other'), 'two')
  await overlay.save()
  await overlay.removeScratch()
  appendFileSync(at('other'), ' three')
  const saved = await overlay.save()
  expect(saved.manifest.layers.length).toBe(2)
  await expectExact(saved)
})

test('a damaged layer or manifest is named', async () => {
  writeFileSync(at('file'), 'content')
  const { id, manifest } = await overlay.save()
  const layer = manifest.layers[0]?.digest as string
  await writeFile(overlay.objectPath('layers', layer), 'x', { flag: 'r+' })
  await expect(overlay.reopen().then((store) => store.layerImages(manifest))).rejects.toMatchObject({
    code: 'CHECKPOINT_CORRUPT',
    message: expect.stringContaining(layer) as string,
  })
  await writeFile(overlay.objectPath('manifests', id), 'x', { flag: 'r+' })
  await expect(overlay.store.load(id)).rejects.toMatchObject({ code: 'CHECKPOINT_CORRUPT' })
})
