import fc from 'fast-check'
import { expect, test } from 'vitest'
import { changedLines, countChanges } from './changed-lines.js'

test.each([
  ['a changed line', 'a\nb\nc', 'a\nB\nc', 1, 1],
  ['two changes apart', 'a\nb\nc\nd\ne', 'A\nb\nc\nd\nE', 2, 2],
  ['an added line', 'a\nc', 'a\nb\nc', 1, 0],
  ['all gone', 'a\nb\n', '', 0, 2],
  ['a moved line', 'a\nb\nc', 'b\nc\na', 1, 1],
  ['nothing', 'a\nb', 'a\nb\n', 0, 0],
])('%s', (_name, before, after, added, removed) => {
  expect(countChanges(before, after)).toEqual({ added, removed })
})

test('what came and what went make up the difference, and backwards they change places', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 }).map((lines) => lines.join('\n'))
  fc.assert(
    fc.property(text, text, (before, after) => {
      const { added, removed } = countChanges(before, after)
      const lines = (of: string): number => (of === '' ? 0 : of.split('\n').length)
      expect(added - removed).toBe(lines(after) - lines(before))
      expect(countChanges(after, before)).toEqual({ added: removed, removed: added })
    }),
  )
})

test('an edit of ten thousand lines is counted at once', () => {
  const lines = (seed: number): string => Array.from({ length: 10_000 }, (_, index) => `${seed} ${index}`).join('\n')
  expect(countChanges(lines(1), lines(2))).toEqual({ added: 10_000, removed: 10_000 })
})

test('inputs of tools: one edit, several, a whole file, and none', () => {
  expect(changedLines({ file_path: 'x', old_string: 'a', new_string: 'b\nc' })).toEqual({ added: 2, removed: 1 })
  const edits = [
    { old_string: 'a', new_string: '' },
    { old_string: '', new_string: 'b' },
  ]
  expect(changedLines({ edits })).toEqual({ added: 1, removed: 1 })
  expect(changedLines({ file_path: 'x', content: 'a\nb\n' })).toEqual({ added: 2, removed: 0 })
  for (const none of [undefined, 'text', {}, { edits: 'no' }, { edits: [3] }])
    expect(changedLines(none)).toBeUndefined()
})
