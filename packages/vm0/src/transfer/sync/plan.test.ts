import type { FolderEntry } from '@vm0/contract/client'
import { expect, test } from 'vitest'
import { mayGoMeanwhile } from './plan.js'

const entry = (path: string, kind: FolderEntry['kind'] = 'file', sizeBytes = 1): FolderEntry => ({
  path,
  kind,
  mode: 0o644,
  sizeBytes,
  content: '',
})

test.each<[string, FolderEntry[], FolderEntry[], boolean]>([
  ['next to what is sent', [entry('a/old'), entry('b', 'folder')], [entry('a/new'), entry('a', 'folder')], true],
  ['below a folder that a file takes the place of', [entry('a/b/old'), entry('c')], [entry('a')], false],
  ['below one that a link takes the place of', [entry('a/b/old')], [entry('a/b', 'link')], false],
  ['with a name that only begins the same', [entry('ab/old')], [entry('a')], true],
  ['whose room may be needed', [entry('a', 'file', 20 * 1024 ** 2)], [entry('b')], false],
])('what goes %s', (_what, removed, sent, expected) => {
  expect(mayGoMeanwhile(removed, sent)).toBe(expected)
})
