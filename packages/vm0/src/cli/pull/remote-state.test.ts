import type { FolderEntry } from '@vm0/contract/client'
import { expect, test } from 'vitest'
import { requireFolders, withoutOutsideLinks } from './remote-state.js'

const entry = (path: string, kind: FolderEntry['kind'] = 'file', content = ''): FolderEntry => ({
  path,
  kind,
  mode: 0,
  sizeBytes: 0,
  content,
})

test('what is in a folder that the session does not tell of is refused: a link here could stand in its place', () => {
  expect(() => requireFolders([entry('a', 'folder'), entry('a/b', 'folder'), entry('a/b/c'), entry('d')])).not.toThrow()
  for (const hostile of [[entry('a/b')], [entry('a', 'link'), entry('a/b')], [entry('a'), entry('a/b')]])
    expect(() => requireFolders(hostile)).toThrow('but not of the folder a')
})

test('links that lead out are left out by name, those that stay inside come', () => {
  const { kept, skipped } = withoutOutsideLinks([
    entry('in', 'link', 'a/b'),
    entry('a/up', 'link', '../in'),
    entry('a/out', 'link', '../../x'),
    entry('root', 'link', '/etc/passwd'),
  ])
  expect(kept.map(({ path }) => path)).toEqual(['in', 'a/up'])
  expect(skipped.map(({ path }) => path)).toEqual(['a/out', 'root'])
})
