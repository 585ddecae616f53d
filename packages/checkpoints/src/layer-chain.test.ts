import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { applyStep, fileStep, type FileStep } from './file-program.test.fixture.js'
import type { LayerReference } from './index.js'
import { describeTree, OverlayFixture } from './overlay.test.fixture.js'

let overlay: OverlayFixture
beforeEach(async () => {
  overlay = await OverlayFixture.create()
})
afterEach(() => overlay.close())

const step = fc.oneof(
  { weight: 30, arbitrary: fileStep },
  // A checkpoint, and what the program does while it is made but before the freeze.
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('save' as const), meanwhile: fc.array(fileStep, { maxLength: 4 }) }),
  },
  // The sandbox goes, and another one is made of the checkpoint.
  { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
)

/** One whose inode table is read, and one where it isn't where we look for it, so that every inode is asked for. */
const fileSystems = ['^has_journal', '^has_journal,meta_bg,^resize_inode']

test('whatever a program does to its files, each of its checkpoints gives back exactly what was there', async () => {
  const base = (...parts: string[]): string => join(overlay.base, ...parts)
  mkdirSync(base('a/b/c'), { recursive: true })
  for (const path of ['a/a', 'a/b/a', 'a/b/c/a', 'b']) writeFileSync(base(path), `base ${path}`)

  const save = async (meanwhile: readonly FileStep[]): Promise<readonly LayerReference[]> => {
    const { manifest } = await overlay.save(async (capture) => {
      for (const each of meanwhile) applyStep(overlay.live, each)
      await capture()
    })
    const live = describeTree(overlay.live, overlay.upper)
    await overlay.withRestored(manifest.layers, (root) => expect(describeTree(root)).toEqual(live))
    return manifest.layers
  }
  const program = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' })
  const property = fc.asyncProperty(program, fc.constantFrom(...fileSystems), async (steps, features) => {
    await overlay.start([], features)
    try {
      for (const each of steps) {
        if (each.do === 'save') await save(each.meanwhile)
        else if (each.do === 'restart') {
          const layers = await save([])
          await overlay.stop()
          await overlay.start(layers, features)
        } else applyStep(overlay.live, each)
      }
      await save([])
    } finally {
      await overlay.stop()
    }
  })
  await fc.assert(property, { numRuns: Number(process.env.VM0_PROPERTY_RUNS ?? 12) })
}, 3_600_000)
