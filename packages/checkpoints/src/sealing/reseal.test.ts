import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBlobDirectory, openFileCache, openSecrets, type BlobPort, type KeyRing } from '@vm0/backends'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { digestOfFile, objectName, packName } from '../digest.js'
import { PackedLayers } from '../layers/layer-store.js'
import type { CheckpointManifest, LayerReference } from '../store.js'
import { Manifests } from './manifests.js'
import { resealObjects, sealedObjects } from './reseal.js'

let directory: string
let blobs: BlobPort
let secrets: KeyRing
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-reseal-'))
  blobs = await openBlobDirectory(join(directory, 'objects'))
  secrets = await openSecrets(join(directory, 'master.json'))
})
afterEach(() => rm(directory, { recursive: true }))

const keysOf = (project: string) => secrets.keysFor(`layers of the project ${project}`)
const manifests = () => new Manifests(blobs, keysOf)
let hosts = 0
/** A host with an empty cache: what it has comes from the store. */
async function layers(): Promise<PackedLayers> {
  const cache = await openFileCache({ directory: join(directory, `host-${(hosts += 1)}`), maxBytes: 2 ** 30 })
  return new PackedLayers(blobs, directory, cache, keysOf)
}
const stored = (name: string): string => join(directory, 'objects', name)

async function save(projectId: string, text: string): Promise<{ id: string; layer: LayerReference }> {
  const image = join(directory, `image-${text}`)
  await writeFile(image, text.repeat(50_000))
  const layer = { digest: await digestOfFile(image), sizeBytes: text.length * 50_000 }
  await (await layers()).put(projectId, layer, image)
  const manifest: CheckpointManifest = {
    v: 1,
    projectId,
    sessionId: text,
    runId: null,
    parent: null,
    cause: 'close',
    outcome: null,
    epoch: 1,
    template: 'sha256:00',
    layers: [layer],
    conversation: null,
    createdAt: '2026-01-01T00:00:00.000Z',
  }
  return { id: await manifests().put(manifest), layer }
}

test('what was sealed under one key is read after a rotation and without that key; what was left out is named', async () => {
  const first = secrets.keyIds()[0] as string
  const saved = await Promise.all(
    ['one', 'two'].map(async (project) => ({ project, ...(await save(project, project)) })),
  )
  const left = saved[0] as (typeof saved)[0]
  const names = [packName('one', left.layer.digest), objectName('manifests', left.id)]
  const before = await Promise.all(names.map((name) => readFile(stored(name))))
  for (const text of before) expect(text.includes(first) && !text.includes('sessionId')).toBe(true)

  const second = await secrets.addKey()
  const afterwards = { project: 'two', ...(await save('two', 'three')) }
  const readable = async (): Promise<void> => {
    for (const { project, id, layer } of [...saved, afterwards]) {
      expect(await manifests().load(id)).toMatchObject({ projectId: project, layers: [layer] })
      expect(await digestOfFile(await (await layers()).file(project, layer))).toBe(layer.digest)
    }
  }
  await readable()
  expect(Object.fromEntries(await sealedObjects({ blobs }))).toEqual({ [first]: 4, [second]: 2 })
  const reseal = () => resealObjects({ blobs, scratch: directory, keysOf })
  expect(await reseal()).toMatchObject({ objects: 4, problems: [] })
  expect(await reseal()).toMatchObject({ objects: 0, bytes: 0 })
  await readable()
  await expect(secrets.dropKey(second)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  await secrets.dropKey(first)
  secrets = await openSecrets(join(directory, 'master.json'))
  expect(secrets.keyIds()).toEqual([second])
  await readable()

  // As they come back from a backup of before.
  for (const [at, name] of names.entries()) await writeFile(stored(name), before[at] as Buffer)
  const missing = (what: string) => ({
    code: 'ENCRYPTION_KEY_MISSING',
    message: expect.stringMatching(new RegExp(`${what}.*${first}`)) as string,
  })
  await expect((await layers()).file('one', left.layer)).rejects.toMatchObject(missing(left.layer.digest))
  await expect(manifests().load(left.id)).rejects.toMatchObject(missing(left.id))
  expect((await reseal()).problems.toSorted()).toEqual(names.toSorted().map((name) => expect.stringContaining(name)))
})

test("a project's key opens nothing of another project's, whatever the object says of itself", async () => {
  const { id } = await save('mine', 'secret')
  const file = stored(objectName('manifests', id))
  const sealed = await readFile(file)
  await writeFile(
    file,
    Buffer.from(sealed.toString('latin1').replace('"project":"mine"', '"project":"ours"'), 'latin1'),
  )
  await expect(manifests().load(id)).rejects.toMatchObject({
    code: 'CHECKPOINT_CORRUPT',
    message: expect.stringContaining(id) as string,
  })
  const others = new Manifests(blobs, () => keysOf('ours'))
  await writeFile(file, sealed)
  await expect(others.load(id)).rejects.toMatchObject({ code: 'CHECKPOINT_CORRUPT' })
  expect((await manifests().load(id)).projectId).toBe('mine')
})

test('manifests of before there were keys are read, and sealed by the next rotation', async () => {
  const plain = new Manifests(blobs)
  const manifest = await manifests().load((await save('project', 'x')).id)
  await blobs.remove(objectName('manifests', await plain.put(manifest)))
  const id = await plain.put(manifest)
  expect((await readFile(stored(objectName('manifests', id)))).includes('sessionId')).toBe(true)
  expect(await manifests().load(id)).toEqual(manifest)
  await resealObjects({ blobs, scratch: directory, keysOf })
  expect((await readFile(stored(objectName('manifests', id)))).includes('sessionId')).toBe(false)
  expect(await manifests().load(id)).toEqual(manifest)
})

test('a manifest of a later version is refused, named with its version, sealed or not', async () => {
  const { id: known } = await save('project', 'x')
  const manifest = await manifests().load(known)
  for (const store of [manifests(), new Manifests(blobs)]) {
    const later = { ...manifest, v: 3, layers: { base: [], own: manifest.layers } }
    const id = await store.put(later as unknown as CheckpointManifest)
    await expect(manifests().load(id)).rejects.toMatchObject({
      code: 'VERSION_UNSUPPORTED',
      message: expect.stringMatching(new RegExp(`${id}.*version 3; expected 1 or 2`)) as string,
    })
    await blobs.remove(objectName('manifests', id))
  }
  expect(await manifests().load(known)).toEqual(manifest)
})
