import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  bucketDigests,
  bucketOf,
  bucketsFor,
  differingBuckets,
  entryDigest,
  isDiffering,
  type FolderEntry,
} from './folder-sync.js'

const entry = fc.record({
  path: fc
    .array(fc.constantFrom('a', 'b', 'c', 'é', '-'), { minLength: 1, maxLength: 4 })
    .map((names) => names.join('/')),
  kind: fc.constantFrom('file' as const, 'link' as const, 'folder' as const),
  mode: fc.constantFrom(0o644, 0o755),
  sizeBytes: fc.constant(1),
  content: fc.constantFrom('x', 'y'),
})
const folder = fc.uniqueArray(entry, { selector: ({ path }) => path, maxLength: 60 })

const digests = (entries: readonly FolderEntry[], buckets: number): Uint8Array =>
  bucketDigests(
    entries.map((each) => ({ path: each.path, digest: entryDigest(each) })),
    buckets,
  )

test('every entry that differs is in a bucket that differs, in whichever order the entries come', () => {
  fc.assert(
    fc.property(folder, folder, fc.constantFrom(1, 2, 16, 256), (a, b, buckets) => {
      const bits = differingBuckets(digests(a, buckets), digests(b.toReversed(), buckets))
      const [here, there] = [a, b].map((entries) => new Map(entries.map((each) => [each.path, JSON.stringify(each)])))
      const alike = new Set(Array.from({ length: buckets }, (_, index) => index))
      for (const path of new Set([...here!.keys(), ...there!.keys()])) {
        if (here!.get(path) === there!.get(path)) continue
        expect(isDiffering(bits, bucketOf(path, buckets))).toBe(true)
        alike.delete(bucketOf(path, buckets))
      }
      for (const bucket of alike) expect(isDiffering(bits, bucket)).toBe(false)
    }),
  )
})

test('one change in a hundred of 100,000 entries makes buckets differ that hold a few hundredths of them', () => {
  const entries = Array.from({ length: 100_000 }, (_, index): FolderEntry => ({
    path: `src/d${index % 317}/file-${index}.ts`,
    kind: 'file',
    mode: 0o644,
    sizeBytes: 1,
    content: String(index),
  }))
  const buckets = bucketsFor(entries.length)
  const changed = entries.map((each, index) => (index % 100 === 0 ? { ...each, content: 'changed' } : each))
  const bits = differingBuckets(digests(entries, buckets), digests(changed, buckets))
  const told = entries.filter(({ path }) => isDiffering(bits, bucketOf(path, buckets)))
  expect(told.length).toBeLessThan(9_000)
})
