import { entryDigest, pathHash } from '@vm0/contract'
import { expect, test } from 'vitest'
import { KnownFolder } from './known-folder.js'

const line = (path: string, ctime = '1764000000.5'): string => `f 644 12 5 ${ctime} ${path}`

function lookAt(known: KnownFolder, lines: readonly string[]) {
  const look = known.look()
  const entries = lines.map((each) => look.take(each, ''))
  look.end()
  return entries
}

test('an entry of which everything is the same is the same one, with the digest that it was given', () => {
  const known = new KnownFolder()
  const [first] = lookAt(known, [line('a')])
  expect(first).toEqual({
    path: 'a',
    kind: 'file',
    mode: 0o644,
    sizeBytes: 5,
    content: '',
    digest: '',
    changedAtMs: 1764000000500,
    hash: pathHash('a'),
    mark: undefined,
  })
  first!.digest = 'learned'
  expect(lookAt(known, [line('a'), line('b')])[0]).toBe(first)
  expect(lookAt(known, [line('a', '1764000001.0')])[0]?.digest).toBe('')
})

test('what is gone is forgotten, and so is what is named', () => {
  const known = new KnownFolder()
  const [a, b] = lookAt(known, [line('a'), line('b')])
  lookAt(known, [line('b')])
  expect(lookAt(known, [line('a')])[0]).not.toBe(a)
  lookAt(known, [line('b')])
  const [again] = lookAt(known, [line('b')])
  expect(again).not.toBe(b)
  known.forget(new Set([again!]))
  expect(lookAt(known, [line('b')])[0]).not.toBe(again)
})

test('a link is known by where it leads, too; what is neither file, folder nor link is no entry', () => {
  const look = new KnownFolder().look()
  const link = 'l 777 12 5 1764000000.5 link'
  expect(look.take(link, 'one')?.content).toBe('one')
  expect(look.take(link, 'two')).toMatchObject({ content: 'two', mode: 0, sizeBytes: 0 })
  expect(look.take('p 644 12 0 1764000000.5 pipe', '')).toBe(undefined)
  expect(look.take('f 644', '')).toBe(undefined)
})

test('buckets have what is in the folder now: what went, came, was told twice, or has another digest than before', () => {
  const known = new KnownFolder()
  const names = ['a', 'b', 'c']
  const look = (lines: readonly string[]) =>
    lookAt(known, lines).map((entry) => Object.assign(entry!, { digest: entry!.digest || entryDigest(entry!) }))
  const all = look(names.map((name) => line(name)))
  const digestsOf = (entries: typeof all): Uint8Array => known.buckets(entries, 1).digests
  const whole = digestsOf(all)
  const [a, b, c] = all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]]
  expect(digestsOf([a, c])).not.toEqual(whole)
  expect(digestsOf(look(names.map((name) => line(name))))).toEqual(whole)
  expect(digestsOf([a, a, c])).not.toEqual(whole)
  expect(digestsOf([c, b, a])).toEqual(whole)
  Object.assign(b, { content: 'x', digest: entryDigest({ ...b, content: 'x' }), mark: undefined })
  expect(digestsOf(all)).not.toEqual(whole)
})
