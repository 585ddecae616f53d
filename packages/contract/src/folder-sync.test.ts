import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  bucketOf,
  bucketsFor,
  bucketsOf,
  differingBuckets,
  entryDigest,
  isDiffering,
  pathHash,
  type Buckets,
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

/** Of those of `old`, by identity, `before` was made. */
function bucketed(entries: readonly FolderEntry[], buckets: number, old?: readonly FolderEntry[], before?: Buckets) {
  const known = new Set(old)
  return bucketsOf(
    {
      length: entries.length,
      hash: (index) => pathHash(entries[index]!.path),
      digest: (index) => entryDigest(entries[index]!),
      wasMember: (index) => known.delete(entries[index]!),
    },
    buckets,
    before,
  )
}
const digests = (entries: readonly FolderEntry[], buckets: number): Uint8Array => bucketed(entries, buckets).digests

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

test('buckets that are made with those from before are the same as those that are made anew', () => {
  const change = fc.record({ drop: fc.double({ min: 0, max: 1, noNaN: true }), add: folder, repeat: fc.boolean() })
  const counts = fc.constantFrom(1, 2, 16, 256)
  fc.assert(
    fc.property(folder, counts, fc.array(fc.tuple(change, counts), { maxLength: 4 }), (first, count, changes) => {
      let [entries, before] = [first, bucketed(first, count)]
      for (const [{ drop, add, repeat }, nextCount] of changes) {
        const added = new Set(add.map(({ path }) => path))
        const kept = entries.filter(({ path }, index) => index >= entries.length * drop && !added.has(path))
        // A folder that changes while it is listed may be told with one entry twice.
        const next = [...add, ...kept, ...(repeat ? kept.slice(0, 1) : [])]
        const buckets = bucketed(next, nextCount, entries, before)
        expect(buckets).toEqual(bucketed(next, nextCount))
        ;[entries, before] = [next, buckets]
      }
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
