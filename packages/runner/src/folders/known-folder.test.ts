import { entryDigest, pathHash } from '@vm0/contract'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { entryOfLine, type FoundEntry } from './found-entry.js'
import { KnownFolder } from './known-folder.js'
import { sameBytes } from './same-bytes.js'

const line = (path: string, ctime = '1764000000.5'): string => `f 644 12 5 ${ctime} ${path}\0`
const linkLine = (path: string, target: string): string => `l 777 12 5 1764000000.5 ${path}\0${target}\0`

/** What a look finds when the lines come in pieces of so many bytes. */
function lookAt(known: KnownFolder, lines: readonly string[], pieceBytes = Infinity) {
  const found = { entries: [] as FoundEntry[], unnamed: 0 }
  const look = known.look(found)
  let left = Buffer.from(lines.join(''))
  for (let come = Buffer.alloc(0); left.length > 0;) {
    come = Buffer.concat([come, left.subarray(0, pieceBytes)])
    left = left.subarray(pieceBytes)
    come = come.subarray(look.take(come))
  }
  look.end()
  return found
}
const learn = (entries: readonly FoundEntry[], isSettled = true): void => {
  for (const entry of entries) if (entry.digest === '') Object.assign(entry, { digest: entryDigest(entry), isSettled })
}

test('an entry of which everything is the same is the same one, with the digest that it was given', () => {
  const known = new KnownFolder()
  const { entries } = lookAt(known, [line('a')])
  expect(entries).toEqual([
    {
      path: 'a',
      kind: 'file',
      mode: 0o644,
      sizeBytes: 5,
      content: '',
      digest: '',
      changedAtMs: 1764000000500,
      isSettled: false,
      hash: pathHash('a'),
      mark: undefined,
    },
  ])
  learn(entries)
  expect(lookAt(known, [line('a'), line('b')]).entries[0]).toBe(entries[0])
  expect(lookAt(known, [line('a', '1764000001.0')]).entries[0]?.digest).toBe('')
})

test('what is gone is forgotten, and so is what was read before it held still', () => {
  const known = new KnownFolder()
  const [a] = lookAt(known, [line('a'), line('b')]).entries
  const [b] = lookAt(known, [line('b')]).entries
  expect(lookAt(known, [line('a')]).entries[0]).not.toBe(a)
  lookAt(known, [line('b')])
  const [again] = lookAt(known, [line('b')]).entries
  expect(again).not.toBe(b)
  learn([again!], false)
  const [third] = lookAt(known, [line('b')]).entries
  expect(third).toEqual({ ...again, digest: '' })
  learn([third!])
  expect(lookAt(known, [line('b')]).entries[0]).toBe(third)
})

test('a link is known by where it leads, too; what is neither file, folder nor link, or has no name in text, is no entry', () => {
  const known = new KnownFolder()
  expect(lookAt(known, [linkLine('link', 'one')]).entries[0]?.content).toBe('one')
  expect(lookAt(known, [linkLine('link', 'two')]).entries).toMatchObject([{ content: 'two', mode: 0, sizeBytes: 0 }])
  const others = ['p 644 12 0 1764000000.5 pipe\0', 'f 644\0', '\0', line('\uFFFD'), linkLine('l', '\uFFFD')]
  for (let round = 0; round < 2; round++) expect(lookAt(known, others)).toEqual({ entries: [], unnamed: 2 })
})

const path = fc.constantFrom('a', 'b', 'c', 'a/b', 'with\nline', 'é', 'f 644 1', 'longer/than/the/others')
const told = fc.oneof(
  fc.tuple(path, fc.constantFrom('1.5', '2.5', '12.5')).map(([name, ctime]) => line(name, ctime)),
  fc.tuple(path, fc.constantFrom('x', 'f', 'l')).map(([name, target]) => linkLine(name, target)),
  fc.constantFrom('p 644 12 0 1.5 pipe\0', line('\uFFFD')),
)

/** Without what is learned of it. */
const plainly = ({ path, kind, mode, sizeBytes, content, changedAtMs, hash }: FoundEntry) => {
  return { path, kind, mode, sizeBytes, content, changedAtMs, hash }
}

test('however a folder changes, and in whichever pieces that is told, what is found is what the lines say', () => {
  const looks = fc.array(fc.tuple(fc.array(told, { maxLength: 12 }), fc.integer({ min: 1, max: 99 })), { maxLength: 6 })
  fc.assert(
    fc.property(looks, (all) => {
      const known = new KnownFolder()
      let before = new Map<string, FoundEntry>()
      for (const [lines, pieceBytes] of all) {
        const { entries, unnamed } = lookAt(known, lines, pieceBytes)
        const plain = lines.map((each) => [each, entryOfLine(Buffer.from(each))] as const)
        const named = plain.filter(([, { entry }]) => entry)
        expect(unnamed).toBe(plain.length - named.length - lines.filter((each) => each.startsWith('p')).length)
        expect(entries.map(plainly)).toEqual(named.map(([, { entry }]) => plainly(entry!)))
        learn(entries)
        // Nothing that a line told otherwise before may pass for it; what is told once each time is known again.
        const now = new Map(named.map(([each], index) => [each, entries[index]!]))
        for (const [each, entry] of now) {
          const isPlain = (there: Iterable<string>): boolean =>
            [...there].filter((other) => entryOfLine(Buffer.from(other)).entry?.path === entry.path).length === 1
          if (before.has(each) && isPlain(before.keys()) && isPlain(lines)) expect(entry).toBe(before.get(each))
        }
        before = now
      }
    }),
  )
})

test('the bytes that two have in common are counted from a place in each', () => {
  const bytes = fc.array(fc.constantFrom(0, 1), { maxLength: 300 }).map((values) => Buffer.from(values))
  const long = fc.tuple(fc.nat(200_000), bytes, bytes)
  fc.assert(
    fc.property(long, fc.nat(100), ([length, a, b], start) => {
      const [one, two] = [a, b].map((each) => Buffer.concat([Buffer.alloc(length, 7), each])) as [Buffer, Buffer]
      const from = Math.min(start, one.length, two.length)
      let same = from
      while (same < Math.min(one.length, two.length) && one[same] === two[same]) same += 1
      expect(sameBytes(one, from, two, from)).toBe(same - from)
      const shifted = Buffer.concat([Buffer.from('ab'), two])
      expect(sameBytes(one, from, shifted, from + 2)).toBe(same - from)
    }),
  )
})

test('buckets have what is in the folder now: what went, came, was told twice, or has another digest than before', () => {
  const known = new KnownFolder()
  const lines = ['a', 'b', 'c'].map((name) => line(name))
  const look = (): [FoundEntry, FoundEntry, FoundEntry] => {
    const { entries } = lookAt(known, lines)
    learn(entries)
    return entries as [FoundEntry, FoundEntry, FoundEntry]
  }
  const digestsOf = (entries: readonly FoundEntry[]): Uint8Array => known.buckets(entries, 1).digests
  const [a, b, c] = look()
  const whole = digestsOf([a, b, c])
  expect(digestsOf([a, c])).not.toEqual(whole)
  expect(digestsOf(look())).toEqual(whole)
  expect(digestsOf([a, a, c])).not.toEqual(whole)
  expect(digestsOf([c, b, a])).toEqual(whole)
  Object.assign(b, { content: 'x', digest: entryDigest({ ...b, content: 'x' }), mark: undefined })
  expect(digestsOf([a, b, c])).not.toEqual(whole)
})
