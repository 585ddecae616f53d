import { posix } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { entryPath, staysInside } from './entry-path.js'

test('names inside the folder, as tar writes them', () => {
  expect(entryPath('./')).toEqual([])
  expect(entryPath('./a/b//c/')).toEqual(['a', 'b', 'c'])
  expect(entryPath('...')).toEqual(['...'])
})

test.each(['/etc/passwd', '../x', 'a/../../x', 'a/..', './..', 'a\0b'])('%j is refused', (name) => {
  expect(() => entryPath(name)).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }) as Error)
})

test('on Windows a backslash or a drive is no name either', () => {
  expect(entryPath('a\\b', 'linux')).toEqual(['a\\b'])
  for (const name of ['a\\..\\b', 'C:x']) expect(() => entryPath(name, 'win32')).toThrow('inside the folder')
})

test.each([
  ['b', 0, true],
  ['./b/c', 0, true],
  ['../b', 1, true],
  ['../../b', 2, true],
  ['..', 1, true],
  ['../b', 0, false],
  ['../../b', 1, false],
  ['b/../../c', 1, false],
  ['b/..', 3, false],
  ['/workspace/b', 3, false],
  ['C:\\b', 3, false],
  ['', 0, true],
])('a link to %j, %i folders deep: %s', (target, depth, inside) => {
  expect(staysInside(target, depth)).toBe(inside)
})

test('links that are let in never lead out, also by way of one another', () => {
  // A tree of depth-3 folders in which some names are links; following any accepted link stays in the tree.
  const part = fc.constantFrom('a', 'b', '..', '.')
  const target = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
  const place = fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(fc.array(fc.tuple(place, target), { maxLength: 6 }), (wanted) => {
      const links = new Map<string, string>()
      for (const [parts, link] of wanted) {
        // As the writer does: the way to an entry is made of real folders, and a link replaces no folder.
        const onTheWay = parts.slice(0, -1).some((_, index) => links.has(parts.slice(0, index + 1).join('/')))
        const isFolder = [...links.keys()].some((key) => key.startsWith(`${parts.join('/')}/`))
        if (!onTheWay && !isFolder && staysInside(link, parts.length - 1)) links.set(parts.join('/'), link)
      }
      for (const start of links.keys()) expect(resolveIn(links, start)).toBe('inside')
    }),
    { numRuns: 2000 },
  )
})

function resolveIn(links: Map<string, string>, start: string): 'inside' | 'outside' {
  let at: string[] = []
  const pending = start.split('/')
  for (let steps = 0; pending.length > 0 && steps < 200; steps++) {
    const part = pending.shift() as string
    if (part === '.') continue
    if (part === '..') {
      if (at.length === 0) return 'outside'
      at = at.slice(0, -1)
      continue
    }
    const link = links.get(posix.join(...at, part))
    if (link === undefined) at = [...at, part]
    else pending.unshift(...link.split('/'))
  }
  return 'inside'
}
