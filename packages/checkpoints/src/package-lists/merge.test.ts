import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mergeLists } from './merge.js'

const names = ['a', 'b', 'c', 'd'] as const
type List = Partial<Record<(typeof names)[number], string>>
const list: fc.Arbitrary<List> = fc.dictionary(fc.constantFrom(...names), fc.constantFrom('1', '2', '3'))

const stanza = (name: string, version: string): string =>
  `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\nDescription: a thing\n with more\n .\n lines`
const textOf = (packages: List): string =>
  Object.entries(packages)
    .map(([name, version]) => `${stanza(name, version)}\n\n`)
    .join('')
const read = (text: string | undefined): List =>
  Object.fromEntries(
    [...(text ?? '').matchAll(/^Package: (.*)$[^]*?^Version: (.*)$/gm)].map(([, name, version]) => [name, version]),
  )

test('each package is the one of the session where that is its own doing, and otherwise the one of the new template', () => {
  const property = fc.property(list, list, list, (base, template, session) => {
    const expected: List = {}
    for (const name of names) {
      const version = session[name] === base[name] ? template[name] : session[name]
      if (version !== undefined) expected[name] = version
    }
    const merged = mergeLists(textOf(base), textOf(template), textOf(session))
    expect(read(merged)).toEqual(expected)
    // What nobody changed on one side is the other side's, to the byte.
    expect(mergeLists(textOf(base), textOf(template), textOf(base))).toBe(textOf(template))
  })
  fc.assert(property, { numRuns: 500 })
})

test('the order of fields is no change, and one package of two architectures is two', () => {
  const base = 'Package: a\nArchitecture: amd64\nVersion: 1\n'
  const same = 'Package: a\nVersion: 1\nArchitecture: amd64\n'
  const newer = 'Package: a\nArchitecture: amd64\nVersion: 2\n'
  expect(mergeLists(base, newer, same)).toBe(`${newer}\n`)
  const other = 'Package: a\nArchitecture: i386\nVersion: 1\n'
  expect(mergeLists(base, base, `${base}\n${other}`)).toBe(`${base}\n${other}\n`)
  expect(mergeLists('', base, '')).toBe(`${base}\n`)
})

test.each([
  'no stanza',
  'Version: 1\n',
  'Package: a\nVersion: 1\n\nPackage: a\nVersion: 2\n',
  ' begins with a space',
  '\0',
])('what is no list of packages is left as it is: %j', (text) => {
  expect(mergeLists('Package: a\n', 'Package: b\n', text)).toBe(undefined)
})
