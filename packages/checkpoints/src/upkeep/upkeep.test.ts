import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBlobDirectory, type BlobPort } from '@vm0/backends'
import { canonicalJson } from '@vm0/contract'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { digestOf, objectName } from '../digest.js'
import { openCheckpointStore, type CheckpointManifest, type LayerReference, type References } from '../index.js'
import { collectGarbage } from './gc.js'

const graceMs = 1000
let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-upkeep-'))
})
afterEach(() => rm(directory, { recursive: true }))

interface Saved {
  id: string
  objects: string[]
}

/** A store of tiny layers, its rows, and a model of what it must hold; time goes on by `nowMs` only. */
class StoreModel {
  nowMs = Date.now()
  blobs!: BlobPort
  /** When each object was written last. */
  readonly written = new Map<string, number>()
  readonly rows = new Map<string, string[]>()

  static async open(path: string): Promise<StoreModel> {
    const model = new StoreModel()
    model.blobs = await openBlobDirectory(path, () => model.nowMs)
    return model
  }

  /** The last of several has blocks of the one before it. With `overTemplate` the first is the image of the template that the others lie over. */
  async upload(layers: readonly number[], overTemplate = false): Promise<Saved> {
    const references: LayerReference[] = []
    const objects = []
    for (const layer of layers) {
      const content = Buffer.from(`layer ${layer}`)
      const digest = digestOf(content)
      references.push({ digest, sizeBytes: content.length })
      objects.push(objectName('layers', digest))
      await this.blobs.put(objectName('layers', digest), content)
      this.written.set(objectName('layers', digest), this.nowMs)
    }
    const [template] = overTemplate ? references.splice(0, 1) : []
    const [base] = references.length > 1 ? references.splice(-1) : []
    if (base) references.push({ ...(references.pop() as LayerReference), bases: [base] })
    const manifest = {
      v: 1,
      projectId: 'p',
      template: template?.digest ?? `sha256:${'0'.repeat(64)}`,
      layers: references,
    }
    const text = Buffer.from(canonicalJson(manifest as unknown as CheckpointManifest))
    const id = digestOf(text)
    await this.blobs.put(objectName('manifests', id), text)
    this.written.set(objectName('manifests', id), this.nowMs)
    return { id, objects: [objectName('manifests', id), ...objects] }
  }

  commit({ id, objects }: Saved): void {
    this.rows.set(id, objects)
  }

  /** Collects; `meanwhile` gets a turn wherever another process could. */
  async collect(meanwhile: () => Promise<void>): Promise<void> {
    const { blobs, rows } = this
    const load = async (id: string): Promise<CheckpointManifest> =>
      JSON.parse(Buffer.from(await blobs.get(objectName('manifests', id))).toString()) as CheckpointManifest
    const interrupted: BlobPort = {
      ...blobs,
      async *list(folder) {
        await meanwhile()
        for await (const each of blobs.list(folder)) yield each
        await meanwhile()
      },
      async removeOld(name, writtenBeforeMs) {
        await meanwhile()
        return blobs.removeOld(name, writtenBeforeMs)
      },
    }
    const references: References = {
      async *checkpoints() {
        // A snapshot, as one statement of a database gives it.
        const snapshot = [...rows.keys()]
        await meanwhile()
        yield* snapshot
        await meanwhile()
      },
      async *templates() {},
      async *objects() {},
    }
    await collectGarbage({ blobs: interrupted, load, references, graceMs, now: () => this.nowMs })
  }

  async names(): Promise<Set<string>> {
    const found = new Set<string>()
    for (const folder of ['layers/', 'manifests/'])
      for await (const { name } of this.blobs.list(folder)) found.add(name)
    return found
  }
}

const layers = fc.array(fc.nat(6), { maxLength: 3 })
const step = fc.oneof(
  fc.record({ do: fc.constant('save' as const), layers }),
  fc.record({ do: fc.constant('upload' as const), layers }),
  fc.record({ do: fc.constant('commit' as const) }),
  fc.record({ do: fc.constant('drop' as const), which: fc.nat(10) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 1500 }) }),
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

test('whatever is saved, dropped and collected in whatever order, what a row names stays, and what nothing names goes', async () => {
  let serial = 0
  const program = fc.array(
    fc.record({ steps: fc.array(step, { maxLength: 8 }), during: fc.array(step, { maxLength: 12 }) }),
    {
      minLength: 1,
      maxLength: 5,
    },
  )
  const property = fc.asyncProperty(program, async (rounds) => {
    const model = await StoreModel.open(join(directory, String(serial++)))
    let pending: (Saved & { atMs: number }) | undefined
    const apply = async (each: Step, collecting: boolean): Promise<void> => {
      if (each.do === 'save') model.commit(await model.upload(each.layers, true))
      else if (each.do === 'upload') pending = { ...(await model.upload(each.layers, true)), atMs: model.nowMs }
      else if (each.do === 'commit') {
        // A commit comes within the grace time of its upload: that is what the grace time is.
        if (pending && model.nowMs - pending.atMs < graceMs) model.commit(pending)
        pending = undefined
      } else if (each.do === 'drop') model.rows.delete([...model.rows.keys()][each.which] ?? '')
      else if (!collecting) model.nowMs += each.ms
    }
    for (const { steps, during } of rounds) {
      for (const each of steps) await apply(each, false)
      const before = { rows: new Set([...model.rows.values()].flat()), written: new Map(model.written) }
      const startedMs = model.nowMs
      const turns = [...during]
      await model.collect(async () => {
        const each = turns.shift()
        if (each) await apply(each, true)
      })
      const there = await model.names()
      for (const objects of model.rows.values()) for (const name of objects) expect(there).toContain(name)
      for (const [name, writtenMs] of model.written) {
        if (writtenMs >= startedMs - graceMs) expect(there).toContain(name)
        // What was written again while it was collected counts as new.
        else if (!before.rows.has(name) && !during.some((each) => 'layers' in each || each.do === 'commit'))
          expect(there).not.toContain(name)
        if (!there.has(name)) model.written.delete(name)
      }
    }
  })
  await fc.assert(property, { numRuns: 60 })
})

test('a collection that can not read a manifest removes nothing', async () => {
  const model = await StoreModel.open(join(directory, 'objects'))
  const { id, objects } = await model.upload([1])
  model.commit({ id, objects })
  await model.upload([2])
  model.nowMs += graceMs * 10
  const before = await model.names()
  await model.blobs.remove(objectName('manifests', id))
  await expect(model.collect(() => Promise.resolve())).rejects.toThrow()
  expect((await model.names()).size).toBe(before.size - 1)
})

test('a collection that was killed between taking an object aside and deciding about it loses nothing', async () => {
  const path = join(directory, 'objects')
  const model = await StoreModel.open(path)
  const { objects } = await model.upload([1])
  const name = objects[1] as string
  const content = await model.blobs.get(name)
  await model.blobs.remove(name)
  await writeFile(join(path, '.incoming', `aside-${name.replaceAll('/', '%')}`), content)
  const again = await openBlobDirectory(path)
  expect(Buffer.from(await again.get(name))).toEqual(Buffer.from(content))
})

test('fsck names each damaged or missing object, and the checkpoints that need it, and no others', async () => {
  const path = join(directory, 'objects')
  const model = await StoreModel.open(path)
  const store = await openCheckpointStore({ blobs: model.blobs, scratch: join(directory, 'scratch') })
  const saved: Saved[] = []
  for (const layers of [[1, 2], [1, 3], [4], [5]]) saved.push(await model.upload(layers))
  const references: References = {
    async *checkpoints() {
      yield* saved.map(({ id }) => id)
    },
    async *templates() {},
    async *objects() {},
  }
  expect(await store.fsck(references, { deep: true })).toEqual({
    checkpoints: 4,
    layers: 5,
    templates: 0,
    problems: [],
  })
  const [first, second, third, fourth] = saved as [Saved, Saved, Saved, Saved]
  const shared = first.objects[1] as string
  await writeFile(join(path, shared), 'layer ?')
  await model.blobs.remove(second.objects[2] as string)
  await model.blobs.remove(third.objects[1] as string)
  await truncate(join(path, fourth.objects[0] as string), 10)
  const shallow = await store.fsck(references, { deep: false })
  expect(shallow.problems.map(({ checkpoints }) => checkpoints)).toEqual([[second.id], [third.id], [fourth.id]])
  const deep = await store.fsck(references, { deep: true })
  expect(deep.problems.map(({ checkpoints }) => checkpoints)).toEqual([
    [first.id, second.id],
    [second.id],
    [third.id],
    [fourth.id],
  ])
  expect(deep.problems[0]?.message).toContain(shared.split('/')[1]?.replace('-', ':'))
  for (const missing of [1, 2]) expect(deep.problems[missing]?.message).toContain('missing')
  expect(deep.problems[3]?.message).toContain(fourth.id)
})
