import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openRunLines } from '@vm0/backends'
import type { RunLine } from '@vm0/contract'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openLogger } from './open-logger.js'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-logger-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const ref = { projectId: 'p', sessionId: 's', runId: 'r' }

test("what is logged of a run is among the run's lines, whatever the level of the file; stacks and other runs' lines are not", async () => {
  const lines = openRunLines(join(directory, 'events'))
  const logger = openLogger(directory, lines, 'warn')
  logger.info({ ...ref, epoch: 3, deep: { secret: 1 }, source: 'server' }, 'it was taken')
  logger.warn({ ...ref, error: new Error('no such thing') }, 'it could not be done')
  logger.info({ runId: 'r' }, 'of a run without a project')
  logger.error('of no run')
  logger.debug({ ...ref }, 'too small')
  const found: RunLine[] = []
  for await (const { line } of lines.read(ref, { after: 0 })) found.push(line)
  expect(found).toEqual([
    { time: expect.any(String), source: 'server', level: 'info', text: 'it was taken', details: { epoch: 3 } },
    {
      time: expect.any(String),
      source: 'runner',
      level: 'warn',
      text: 'it could not be done: no such thing',
      details: {},
    },
  ])
  const file = await readFile(join(directory, 'vm0.log'), 'utf8')
  expect(file).not.toContain('it was taken')
  expect(file).toMatch(/it could not be done[^]*of no run/)
  expect(file).toContain('run-line-stream.test')
})

test('a level that there is none of is refused', () => {
  const lines = openRunLines(join(directory, 'events'))
  expect(() => openLogger(directory, lines, 'loud')).toThrow(/expected one of trace, debug, info/)
})
