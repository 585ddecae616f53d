import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openBlobDirectory } from '@vm0/backends'
import type { StoredTemplate, TemplateFacts } from '@vm0/contract'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { CheckpointManifest, LayerReference } from '../store.js'
import { describeTree, OverlayFixture } from '../overlay.test.fixture.js'

const base = `sha256:${'0'.repeat(64)}`
const facts: TemplateFacts = { env: { A: 'b' }, resources: {}, origin: { kind: 'recipe', base } }

let overlay: OverlayFixture
let made: StoredTemplate[]
beforeEach(async () => {
  made = []
  overlay = await OverlayFixture.create()
  const image = await overlay.baseImage()
  await overlay.reopen({
    templateImage: () => Promise.resolve(image),
    templateLayer: (projectId, digest) =>
      Promise.resolve(projectId === 'default' ? made.find((each) => each.digest === digest) : undefined),
  })
})
afterEach(() => overlay.close())

const at = (path: string): string => join(overlay.live, path)

function makeBase(): void {
  for (const folder of ['tmp', 'root/.agent', 'usr/share', 'etc'])
    mkdirSync(join(overlay.base, folder), { recursive: true })
  for (const path of ['etc/kept', 'etc/removed', 'etc/changed']) writeFileSync(join(overlay.base, path), `base ${path}`)
}

async function make(layers: readonly LayerReference[], given = facts, template = base): Promise<StoredTemplate> {
  const manifest = { projectId: 'default', layers } as CheckpointManifest
  const without = ['root/.agent']
  const stored = await overlay.store.templates.make({ projectId: 'default', template, manifest, facts: given, without })
  made.push(stored)
  return stored
}

/** What a sandbox with the template and nothing else would see. */
async function withTemplate<T>({ digest }: StoredTemplate, use: (root: string) => T): Promise<T> {
  const root = join(overlay.directory, `template-${Math.random()}`)
  await overlay.mount(
    root,
    '-t',
    'erofs',
    '-o',
    'ro,nodev,loop',
    await overlay.store.templates.image(digest, 'default'),
  )
  return use(root)
}

/** A session over a base that knows the templates made here. */
async function startOver(): Promise<void> {
  makeBase()
  await overlay.reopen({
    templateImage: () => overlay.baseImage(),
    templateLayer: async (_, digest) => made.find((each) => each.digest === digest),
  })
  await overlay.start()
}

test('a template shows what the checkpoint did, without what passes, and says what it is', async () => {
  await startOver()
  writeFileSync(at('etc/changed'), 'changed')
  rmSync(at('etc/removed'))
  writeFileSync(at('tmp/passing'), 'x')
  writeFileSync(at('root/.agent/conversation'), 'private')
  await overlay.save()
  mkdirSync(at('opt'))
  writeFileSync(at('opt/tool'), 'tool', { mode: 0o755 })
  const { layers } = (await overlay.save()).manifest
  const expected = describeTree(overlay.live, overlay.upper).filter(
    (line) => !/^\/(?:tmp\/|root\/\.agent|usr)/.test(line) && !line.startsWith('/root '),
  )
  const stored = await make(layers)
  await withTemplate(stored, (root) => {
    const shown = describeTree(root)
    expect(shown.filter((line) => !line.startsWith('/usr') && !line.startsWith('/root '))).toEqual(expected)
    expect(shown.map((line) => line.split(' ')[0])).not.toContain('/tmp/passing')
    expect(JSON.parse(readFileSync(join(root, 'usr/share/vm0/template.json'), 'utf8'))).toEqual(facts)
  })
})

test('the same made again has the same digest; other variables make it another one, and one may be made of another', async () => {
  await startOver()
  writeFileSync(at('etc/changed'), 'changed')
  const { layers } = (await overlay.save()).manifest
  const [first, again] = [await make(layers), await make(layers)]
  expect(again).toEqual(first)
  expect((await make(layers, { ...facts, env: { A: 'c' } })).digest).not.toBe(first.digest)
  const second = await make([], facts, first.digest)
  await withTemplate(second, (root) => expect(readFileSync(join(root, 'etc/changed'), 'utf8')).toBe('changed'))
})

test("a project's template is nothing of another project's, and a damaged one is told", async () => {
  makeBase()
  const stored = await make([])
  await overlay.reopen({
    templateImage: () => Promise.reject(new Error('not of this host')),
    templateLayer: async (projectId, digest) =>
      projectId === 'default' ? made.find((each) => each.digest === digest) : undefined,
  })
  await expect(overlay.store.templates.image(stored.digest, 'other')).rejects.toThrow('not of this host')
  writeFileSync(overlay.objectPath('layers', stored.digest), 'damaged')
  await expect(overlay.store.templates.image(stored.digest, 'default')).rejects.toMatchObject({
    code: 'CHECKPOINT_CORRUPT',
  })
})

test('what the store tells of versions is read back; what is no such document is left out', async () => {
  const document = {
    v: 1 as const,
    projectId: 'default',
    name: 'web',
    version: 3,
    digest: base,
    sizeBytes: 1,
    ...facts,
    createdAt: '2026-01-01T00:00:00.000Z',
  }
  await overlay.store.templates.describe(document)
  const blobs = await openBlobDirectory(join(overlay.directory, 'objects'))
  await blobs.put('templates/default/web/4', Buffer.from('{"v":1}'))
  // It says another name than its own.
  await blobs.put('templates/default/other/3', Buffer.from(JSON.stringify(document)))
  const found = []
  for await (const each of overlay.store.templates.documents()) found.push(each)
  expect(found).toEqual([document])
})
