import { expect, test } from 'vitest'
import type { CheckpointView } from '@vm0/contract/client'
import { checkpointGraph } from './checkpoint-graph.js'

const digest = (name: string): string => `sha256:${name.padEnd(64, '0')}`
const uuid = (name: string): string => `019aaaaa-0000-7000-8000-0000${name.padStart(8, '0')}`

/** A checkpoint in a few letters: its name and its parent's. */
function checkpoint(name: string, parent: string | null, more: Partial<CheckpointView> = {}): CheckpointView {
  return {
    id: digest(name),
    sessionId: uuid('5'),
    runId: uuid('1'),
    parent: parent === null ? null : digest(parent),
    cause: 'run',
    outcome: 'succeeded',
    name: null,
    toolCalls: [],
    changedFiles: 2,
    sizeBytes: 1234,
    isHead: false,
    forks: [],
    createdAt: '2026-01-01T00:00:00.000Z',
    ...more,
  }
}

const shape = (text: string): string[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ {2}run .*/, ''))

test('a line of checkpoints is one column', () => {
  const text = checkpointGraph([checkpoint('b', 'a', { isHead: true }), checkpoint('a', null)])
  expect(text).toBe(
    [
      '*  b0000000  run 00000001 succeeded  2 files, 1.2 KiB, 2026-01-01 00:00:00  ← head\n',
      '*  a0000000  run 00000001 succeeded  2 files, 1.2 KiB, 2026-01-01 00:00:00\n',
    ].join(''),
  )
})

test('branches that go back to one checkpoint join there', () => {
  const text = checkpointGraph([
    checkpoint('e', 'c'),
    checkpoint('d', 'b'),
    checkpoint('c', 'a'),
    checkpoint('b', 'a'),
    checkpoint('a', 'elsewhere'),
  ])
  expect(shape(text)).toEqual(['*  e0000000', '| *  d0000000', '* |  c0000000', '| *  b0000000', '|/', '*  a0000000'])
})

test('three branches from one checkpoint, and one of which the origin is not shown', () => {
  const text = checkpointGraph([
    checkpoint('x', 'older'),
    checkpoint('d', 'a'),
    checkpoint('c', 'a'),
    checkpoint('b', 'a'),
    checkpoint('a', null),
  ])
  expect(shape(text)).toEqual([
    '*  x0000000',
    '*  d0000000',
    '| *  c0000000',
    '| | *  b0000000',
    '| |/',
    '|/',
    '*  a0000000',
  ])
})

test('a branch that joins beyond another one', () => {
  const text = checkpointGraph([
    checkpoint('e', 'a'),
    checkpoint('d', 'b'),
    checkpoint('c', 'a'),
    checkpoint('a', null),
    checkpoint('b', null),
  ])
  expect(shape(text)).toEqual([
    '*  e0000000',
    '| *  d0000000',
    '| | *  c0000000',
    '|_|/',
    '* |  a0000000',
    '*  b0000000',
  ])
})

test('what led to it is told in words, inert', () => {
  const call = { id: 't', name: 'Bash', title: 'echo \u001b[31mred' }
  const text = checkpointGraph([
    checkpoint('c', 'b', { cause: 'manual', name: 'before the migration', forks: [uuid('7')] }),
    checkpoint('b', 'a', { cause: 'tool', toolCalls: [call, call] }),
    checkpoint('a', null, { cause: 'idle', runId: null }),
  ])
  const [named, tool, idle] = text.split('\n')
  expect(named).toContain('saved as before the migration')
  expect(named).toContain('forked to 00000007')
  expect(tool).toContain('run 00000001 ▸ Bash echo red and 1 more')
  expect(idle).toContain('a0000000  idle  2 files')
})
