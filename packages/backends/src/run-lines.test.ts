import { appendFile, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RunLine } from '@vm0/contract'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openRunLines } from './index.js'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-lines-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const scope = { projectId: 'p', sessionId: 's', runId: 'r' }
const line = (text: string): RunLine => ({
  time: '2026-01-01T00:00:00.000Z',
  source: 'runner',
  level: 'info',
  text,
  details: {},
})
async function textsOf(lines: ReturnType<typeof openRunLines>, after = 0): Promise<[number, string][]> {
  const found: [number, string][] = []
  for await (const { number, line: each } of lines.read(scope, { after })) found.push([number, each.text])
  return found
}

test('lines of a run are there in order, each with its number, also behind one, and in the next process', async () => {
  const lines = openRunLines(directory)
  expect(await textsOf(lines)).toEqual([])
  for (const text of ['one', 'two', 'three']) lines.append(scope, line(text))
  lines.append({ ...scope, runId: 'other' }, line('of another run'))
  expect(await textsOf(lines)).toEqual([
    [1, 'one'],
    [2, 'two'],
    [3, 'three'],
  ])
  expect(await textsOf(lines, 2)).toEqual([[3, 'three']])
  // A crash has cut the last one off.
  await appendFile(join(directory, 'p', 's', 'r.lines'), '{"time":"20')
  const next = openRunLines(directory)
  next.append(scope, line('four'))
  expect(await textsOf(next)).toEqual([
    [1, 'one'],
    [2, 'two'],
    [3, 'three'],
    [5, 'four'],
  ])
})

test('who follows gets what comes, and all that was there when it ended', async () => {
  const lines = openRunLines(directory)
  const over = new AbortController()
  const reading = lines.read(scope, { after: 0, ended: over.signal })
  const first = reading.next()
  lines.append(scope, line('one'))
  expect((await first).value?.line.text).toBe('one')
  const second = reading.next()
  lines.append(scope, line('two'))
  expect((await second).value?.line.text).toBe('two')
  lines.append(scope, line('three'))
  over.abort()
  expect((await reading.next()).value?.line.text).toBe('three')
  expect((await reading.next()).done).toBe(true)
})

test('what is kept of a run is bounded, and so is what waits; the last line says so', async () => {
  const lines = openRunLines(directory)
  for (let round = 0; round < 10; round++) {
    for (let index = 0; index < 100; index++) lines.append(scope, line('x'.repeat(1000)))
    await textsOf(lines)
  }
  const texts = await textsOf(lines)
  expect(texts.length).toBeLessThan(300)
  expect(texts.at(-1)![1]).toContain('more was said of this run than is kept')
  expect((await stat(join(directory, 'p', 's', 'r.lines'))).size).toBeLessThanOrEqual(256 * 1024)
  const flood = { ...scope, runId: 'flood' }
  for (let index = 0; index < 100_000; index++) lines.append(flood, line(String(index)))
  let count = 0
  for await (const _ of lines.read(flood, { after: 0 })) count += 1
  expect(count).toBeGreaterThan(0)
  expect(count).toBeLessThanOrEqual(2000)
})

test('a folder that can not be written holds nobody up', async () => {
  await appendFile(join(directory, 'p'), 'a file')
  const lines = openRunLines(directory)
  lines.append(scope, line('one'))
  expect(await textsOf(lines)).toEqual([])
})
