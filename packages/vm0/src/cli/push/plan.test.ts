import type { FolderEntry } from '@vm0/contract/client'
import { expect, test } from 'vitest'
import { planPush } from './plan.js'

const entry = (path: string, content: string, more: Partial<FolderEntry> = {}): FolderEntry => ({
  path,
  kind: 'file',
  mode: 0o644,
  sizeBytes: 1,
  content,
  ...more,
})
const folder = (path: string): FolderEntry => entry(path, '', { kind: 'folder', mode: 0o755 })

interface Case {
  here?: FolderEntry[]
  there?: FolderEntry[]
  noted?: Record<string, string>
  force?: boolean
}

function plan({ here = [], there = [], noted = {}, force = false }: Case) {
  const local = new Set(here.map(({ path }) => path))
  const gone = new Map(Object.entries(noted).filter(([path]) => !local.has(path)))
  const { send, ...rest } = planPush(
    here,
    new Map(there.map((each) => [each.path, each])),
    ({ path }) => noted[path],
    gone,
    { force },
  )
  return { send: send.map((each) => `${each.change} ${each.entry.path}`), ...rest }
}
const empty = { send: [], theirs: [], conflicts: [], gone: [] }

test('what is new here, or was changed here only, is sent', () => {
  const here = [folder('src'), entry('src/new', 'x'), entry('mine', '2')]
  expect(plan({ here, there: [entry('mine', '1')], noted: { mine: '1' } })).toEqual({
    ...empty,
    send: ['added src', 'added src/new', 'changed mine'],
  })
  const executable = entry('tool', '1', { mode: 0o755 })
  expect(plan({ here: [executable], there: [entry('tool', '1')], noted: { tool: '1' } }).send).toEqual(['changed tool'])
})

test('what was changed or deleted in the session only is left as it is', () => {
  const noted = { a: '1', b: '1' }
  const here = [entry('a', '1'), entry('b', '1')]
  expect(plan({ here, there: [entry('a', '2')], noted })).toEqual({ ...empty, theirs: ['a', 'b'] })
})

test('what was changed on both sides, or differs and was never noted, is a conflict unless forced', () => {
  const here = [entry('both', '2'), entry('unknown', 'x'), entry('deleted', '2')]
  const there = [entry('both', '3'), entry('unknown', 'y')]
  const noted = { both: '1', deleted: '1' }
  expect(plan({ here, there, noted })).toEqual({ ...empty, conflicts: ['both', 'unknown', 'deleted'] })
  expect(plan({ here, there, noted, force: true }).send).toEqual(['changed both', 'changed unknown', 'added deleted'])
})

test('what is gone from here is told when the session has not changed it, and a folder is never given up for a file', () => {
  const noted = { a: '1', b: '1', c: '1' }
  expect(plan({ there: [entry('a', '1'), entry('b', '2'), entry('own', 'x')], noted })).toEqual({
    ...empty,
    theirs: ['b'],
    gone: [entry('a', '1')],
  })
  const lost = { here: [entry('a', 'x')], there: [folder('a')], force: true }
  expect(plan(lost)).toEqual({ ...empty, conflicts: ['a'] })
})
