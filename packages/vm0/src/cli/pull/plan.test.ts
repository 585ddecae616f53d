import { expect, test } from 'vitest'
import { planPull, type LocalState, type RemoteEntry } from './plan.js'

const file = (name: string): RemoteEntry => ({ name, kind: 'file' })
const folder = (name: string): RemoteEntry => ({ name, kind: 'folder' })
const here = (kind: LocalState['kind'], more: Partial<LocalState> = {}): LocalState => ({
  kind,
  same: false,
  untouched: false,
  ...more,
})
const plan = (
  remote: RemoteEntry[],
  local: Record<string, LocalState>,
  { noted = [] as string[], force = false } = {},
) => planPull(remote, (name) => local[name], noted, { force })

test('what is not here comes, what is the same stays, what was not touched is replaced', () => {
  const result = plan([folder('src'), file('src/new'), file('same'), file('old')], {
    src: here('folder', { same: true }),
    same: here('file', { same: true }),
    old: here('file', { untouched: true }),
  })
  expect(result.write).toEqual([
    { entry: file('src/new'), change: 'added' },
    { entry: file('old'), change: 'changed' },
  ])
  expect(result.same).toEqual([folder('src'), file('same')])
  expect(result.conflicts).toEqual([])
})

test('what was changed here, or never sent, is a conflict unless forced', () => {
  const local = { mine: here('file') }
  expect(plan([file('mine')], local).conflicts).toEqual(['mine'])
  expect(plan([file('mine')], local, { force: true }).write).toEqual([{ entry: file('mine'), change: 'changed' }])
})

test('what stands in the place of a folder is told once, and a folder is never given up for a file', () => {
  expect(plan([folder('a'), file('a/b'), file('a/c')], { a: here('link', { untouched: true }) }).conflicts).toEqual([
    'a',
  ])
  const forced = plan([folder('a'), file('a/b')], { a: here('link') }, { force: true })
  expect(forced.write.map(({ entry, change }) => [entry.name, change])).toEqual([
    ['a', 'changed'],
    ['a/b', 'added'],
  ])
  expect(plan([file('a')], { a: here('folder') }, { force: true }).conflicts).toEqual(['a'])
})

test('what the session deleted is told, with whether it was changed here', () => {
  const local = { a: here('file', { untouched: true }), b: here('file'), d: here('file', { same: true }) }
  expect(plan([file('d')], local, { noted: ['a', 'b', 'c', 'd'] }).gone).toEqual([
    { name: 'a', untouched: true },
    { name: 'b', untouched: false },
  ])
})
