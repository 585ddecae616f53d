import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { applyStep, fileStep, type FileStep } from '../file-program.test.fixture.js'
import type { CheckpointManifest, CheckpointStore } from '../index.js'
import { describeTree, OverlayFixture, setXattr } from '../overlay.test.fixture.js'
import { craftArchive, sha256, tarOf, type Crafted, type CraftedEntry } from './crafted-archive.test.fixture.js'

const limits = { maxArchiveBytes: 50_000_000, maxUnpackedBytes: 20_000_000, maxEntries: 200 }
const about = { id: '0190a000-0000-7000-8000-000000000000', resources: { memoryMiB: 1024 }, labels: { team: 'web' } }
const target = { projectId: 'default', sessionId: 'copy' }

let overlay: OverlayFixture
let store: CheckpointStore
/** Templates that this machine has. */
let templates: Map<string, string>
beforeEach(async () => {
  overlay = await OverlayFixture.create()
  templates = new Map()
  store = await overlay.reopen({
    templateImage: async (digest) => {
      const image = templates.get(digest)
      if (!image) throw new Error(`no template ${digest}`)
      return image
    },
    addTemplate: async (digest, image) => {
      const kept = join(overlay.directory, `${digest.slice(7)}.erofs`)
      execFileSync('cp', [image, kept])
      templates.set(digest, kept)
    },
    importLimits: limits,
  })
})
afterEach(() => overlay.close())

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
}

async function exported(checkpoint: string, withTemplate = true): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of store.archives.export({ ...about, checkpoint }, { withTemplate })) parts.push(part)
  return Buffer.concat(parts)
}

async function imported(archive: Uint8Array, template?: string): Promise<CheckpointManifest> {
  const incoming = await store.archives.receive(inPieces(archive))
  try {
    return await store.load((await incoming.store({ ...target, template })).checkpoint)
  } finally {
    await incoming.close()
  }
}

const treeOf = (layers: CheckpointManifest['layers']): Promise<string[]> =>
  overlay.withRestored(layers, (root) => describeTree(root))

const isSocket = (step: FileStep): boolean => step.do === 'special' && step.type === 0o140600

test('whatever a session did to its files, an export and import give exactly the same: names, links, holes, times, attributes, deletions', async () => {
  const steps = fc.array(fileStep, { minLength: 1, maxLength: 25 })
  for (const step of fc.sample(steps, { numRuns: 1, seed: 7 }).flat()) applyStep(overlay.base, step)
  const template = `sha256:${'0'.repeat(64)}`
  templates.set(template, await overlay.baseImage())
  const property = fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 3 }), async (rounds) => {
    await overlay.start()
    try {
      let checkpoint = ''
      for (const round of rounds) {
        for (const step of round.filter((each) => !isSocket(each))) applyStep(overlay.live, step)
        checkpoint = (await overlay.save()).id
      }
      const before = await store.load(checkpoint)
      const archive = await exported(checkpoint)
      const copy = await imported(archive)
      expect(copy).toMatchObject({ ...target, template, cause: 'import', parent: null, runId: null })
      expect(copy.layers.length).toBe(before.layers.length)
      expect(await treeOf(copy.layers)).toEqual(await treeOf(before.layers))
    } finally {
      await overlay.stop()
    }
  })
  await fc.assert(property, { numRuns: 12 })
}, 120_000)

test('names that mean something in a tar, and a template that is not known here, come through as well', async () => {
  mkdirSync(join(overlay.base, 'usr/bin'), { recursive: true })
  writeFileSync(join(overlay.base, 'usr/bin/tool'), 'x'.repeat(10_000), { mode: 0o755 })
  setXattr(Buffer.from(join(overlay.base, 'usr/bin/tool')), 'user.binary', Buffer.from([0xff, 0, 1]))
  templates.set(`sha256:${'0'.repeat(64)}`, await overlay.baseImage())
  await overlay.start()
  const at = (name: string): Buffer => Buffer.concat([Buffer.from(`${overlay.live}/`), Buffer.from(name, 'latin1')])
  mkdirSync(at('.wh.folder'))
  for (const name of ['.wh.folder/.wh.file', '.wh..wh..opq', '\xef\xbb\xbfmark', 'line\nbreak', 'a'.repeat(255)])
    writeFileSync(at(name), name)
  rmSync(at('usr/bin'), { recursive: true })
  mkdirSync(at('usr/bin'))
  writeFileSync(at('usr/bin/own'), 'own')
  const { id, manifest } = await overlay.save()
  const archive = await exported(id)
  const known = await imported(archive)
  expect(known.template).toBe(manifest.template)
  expect(await treeOf(known.layers)).toEqual(await treeOf(manifest.layers))

  const small = await exported(id, false)
  expect((await imported(small)).layers).toEqual(known.layers)

  const image = templates.get(manifest.template) as string
  templates.clear()
  const copy = await imported(archive)
  expect(copy.template).not.toBe(manifest.template)
  const mounted = join(overlay.directory, 'template')
  mkdirSync(mounted)
  const treeAt = (file: string): string[] => {
    execFileSync('mount', ['-t', 'erofs', '-o', 'loop,ro', file, mounted])
    try {
      return describeTree(mounted)
    } finally {
      execFileSync('umount', [mounted])
    }
  }
  expect(treeAt(templates.get(copy.template) as string)).toEqual(treeAt(image))
  expect(await treeOf(copy.layers)).toEqual(await treeOf(manifest.layers))

  // Where it has no template of its own, and the one that it was made on is not known, another one has to be named.
  await expect(imported(small)).rejects.toMatchObject({
    code: 'UNKNOWN_TEMPLATE',
    message: expect.stringContaining(manifest.template) as string,
  })
  expect(await imported(small, copy.template)).toMatchObject({ template: copy.template, layers: copy.layers })
  expect(await imported(archive, copy.template)).toMatchObject({ template: copy.template, layers: copy.layers })
})

test('an export that nobody reads to its end leaves nothing behind', async () => {
  templates.set(`sha256:${'0'.repeat(64)}`, await overlay.baseImage())
  await overlay.start()
  writeFileSync(join(overlay.live, 'file'), 'x'.repeat(100_000))
  const { id } = await overlay.save()
  for await (const _part of store.archives.export({ ...about, checkpoint: id }, { withTemplate: true })) break
  expect(await readdir(join(overlay.directory, 'scratch'))).toEqual([expect.stringContaining('.index')])
})

const link = (name: string, linkname: string, type: 'symlink' | 'link' = 'symlink'): CraftedEntry => ({
  name,
  type,
  linkname,
})
const gnuSparse = (map: string, size: string) => ({ 'GNU.sparse.map': map, 'GNU.sparse.size': size })

test.each<[string, string, RegExp, Crafted]>([
  ['a path that goes up', 'ARCHIVE_INVALID', /leads out/, { layer: [{ name: '../../etc/cron.d/x', data: 'x' }] }],
  ['a path that goes up in the middle', 'ARCHIVE_INVALID', /leads out/, { layer: [{ name: 'a/../../x', data: 'x' }] }],
  ['an absolute path', 'ARCHIVE_INVALID', /leads out/, { layer: [{ name: '/etc/passwd', data: 'x' }] }],
  [
    'a path that goes up, in our own words',
    'ARCHIVE_INVALID',
    /leads out/,
    { layer: [{ name: 'x', data: 'x', pax: { 'VM0.path': Buffer.from('../x').toString('base64') } }] },
  ],
  [
    'a path through a symbolic link',
    'ARCHIVE_INVALID',
    /is no folder/,
    { layer: [link('out', '/etc'), { name: 'out/passwd', data: 'x' }] },
  ],
  [
    'a hard link to a file that it does not have',
    'ARCHIVE_INVALID',
    /hard link/,
    { layer: [link('x', 'etc/shadow', 'link')] },
  ],
  ['a hard link that goes up', 'ARCHIVE_INVALID', /leads out/, { layer: [link('x', '../../etc/shadow', 'link')] }],
  ['a deletion of what is above', 'ARCHIVE_INVALID', /leads out/, { layer: [{ name: 'a/.wh...' }] }],
  ['a block device', 'ARCHIVE_INVALID', /block-device/, { layer: [{ name: 'sda', type: 'block-device' }] }],
  [
    'a character device',
    'ARCHIVE_INVALID',
    /character-device/,
    { layer: [{ name: 'null', type: 'character-device' }] },
  ],
  [
    "an overlay's own note, which would show other files",
    'ARCHIVE_INVALID',
    /not taken in/,
    { layer: [{ name: 'd/', type: 'directory', pax: { 'SCHILY.xattr.trusted.overlay.redirect': '/etc' } }] },
  ],
  ['an owner that no sandbox has', 'ARCHIVE_INVALID', /belongs to/, { layer: [{ name: 'x', uid: 100_000 }] }],
  ['the same name twice', 'ARCHIVE_INVALID', /twice/, { layer: [{ name: 'x' }, { name: 'x' }] }],
  [
    'a map of holes past the end',
    'ARCHIVE_INVALID',
    /holes/,
    { layer: [{ name: 'x', data: 'ab', pax: gnuSparse('9,2', '10') }] },
  ],
  [
    'a file of holes without bounds',
    'ARCHIVE_TOO_LARGE',
    /16 TiB/,
    { layer: [{ name: 'x', pax: gnuSparse('', '9000000000000000') }] },
  ],
  [
    'a small file that unpacks to a large one',
    'ARCHIVE_TOO_LARGE',
    /when it is unpacked/,
    { layer: [{ name: 'zeros', data: new Uint8Array(40_000_000) }] },
  ],
  [
    'many files of holes whose maps are large',
    'ARCHIVE_TOO_LARGE',
    /when it is unpacked/,
    { layer: Array.from({ length: 30 }, (_, n) => ({ name: `x${n}`, pax: gnuSparse('', String(2 ** 40)) })) },
  ],
  [
    'more files than are allowed',
    'ARCHIVE_TOO_LARGE',
    /more than 200/,
    { layer: Array.from({ length: 300 }, (_, n) => ({ name: `x${n}` })) },
  ],
  ['a layer that is no tar', 'ARCHIVE_CORRUPT', /could not be read/, { tar: Buffer.alloc(2048, 'x') }],
  [
    'a layer that unpacks to something else',
    'ARCHIVE_CORRUPT',
    /when it is unpacked/,
    { diffIds: [sha256(Buffer.from('a')), sha256(Buffer.from('b'))] },
  ],
  [
    'a damaged blob',
    'ARCHIVE_CORRUPT',
    /is damaged/,
    {
      change(files) {
        const [name, bytes] = [...files].find(([each]) => each.startsWith('blobs/')) as [string, Uint8Array]
        const damaged = Buffer.from(bytes)
        damaged[20] = (damaged[20] as number) ^ 1
        files.set(name, damaged)
      },
    },
  ],
  [
    'a missing blob',
    'ARCHIVE_CORRUPT',
    /lacks the blob/,
    { change: (files) => void files.delete([...files.keys()].findLast((each) => each.startsWith('blobs/')) as string) },
  ],
  ['a missing index', 'ARCHIVE_CORRUPT', /lacks index.json/, { change: (files) => void files.delete('index.json') }],
  [
    'an index that is not JSON',
    'ARCHIVE_INVALID',
    /not JSON/,
    { change: (files) => void files.set('index.json', Buffer.from('{')) },
  ],
  ['a session of a later version', 'VERSION_UNSUPPORTED', /version 3/, { about: { v: 3, something: 'new' } }],
  ['a layout of a later version', 'VERSION_UNSUPPORTED', /2\.0\.0/, { layout: { imageLayoutVersion: '2.0.0' } }],
  ['an image that is no session', 'ARCHIVE_INVALID', /is no session/, { about: null }],
  [
    'a session with a template that is no digest',
    'ARCHIVE_INVALID',
    /annotation/,
    { about: { template: '../../etc/passwd' } },
  ],
  ['a session for another processor', 'ARCHIVE_INVALID', /made for/, { config: { architecture: 'riscv64' } }],
  [
    'another file in the layout',
    'ARCHIVE_INVALID',
    /expected an OCI image layout/,
    { more: [{ name: '../x', data: 'x' }] },
  ],
  [
    'a link in the layout',
    'ARCHIVE_INVALID',
    /expected an OCI image layout/,
    { more: [link(`blobs/sha256/${'a'.repeat(64)}`, '/etc/passwd')] },
  ],
])('%s is refused, and nothing of it is kept', async (_what, code, message, crafted) => {
  const archive = await craftArchive(crafted)
  await expect(imported(archive)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  expect(await readdir(join(overlay.directory, 'scratch'))).toEqual([])
  expect(await readdir(join(overlay.directory, 'objects'))).toEqual(['.incoming'])
})

test('a file that is cut off, empty, too large or something else is refused', async () => {
  const archive = await craftArchive()
  const refused = async (bytes: Uint8Array, code: string): Promise<void> => {
    await expect(imported(bytes)).rejects.toMatchObject({ code })
    expect(await readdir(join(overlay.directory, 'scratch'))).toEqual([])
  }
  for (const length of [0, 100, 700, archive.length >> 1, archive.length - 2048])
    await refused(archive.subarray(0, length), 'ARCHIVE_CORRUPT')
  await refused(Buffer.from('not a tar at all'.repeat(100)), 'ARCHIVE_CORRUPT')
  const large = { name: `blobs/sha256/${'a'.repeat(64)}`, data: new Uint8Array(60_000_000) }
  await refused(await tarOf([large]), 'ARCHIVE_TOO_LARGE')
})

test('what another program wrote of a session comes in: by gzip, without entries for its folders', async () => {
  mkdirSync(join(overlay.base, 'deep'))
  writeFileSync(join(overlay.base, 'deep/gone'), 'gone')
  const layer = [
    { name: 'deep/er/file', data: 'content', mode: 0o600, uid: 1000 },
    { name: 'deep/.wh.gone' },
    link('deep/soft', '../../../any/where'),
  ]
  const { layers } = await imported(await craftArchive({ layer }))
  const tree = await treeOf(layers)
  expect(tree.find((line) => line.startsWith('/deep/er/file '))).toContain('1000')
  expect(tree.some((line) => line.startsWith('/deep/soft '))).toBe(true)
  expect(tree.some((line) => line.startsWith('/deep/gone'))).toBe(false)
})
