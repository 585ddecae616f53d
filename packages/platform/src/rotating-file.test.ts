import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { rotatingFile } from './rotating-file.js'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-log-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

test('a log keeps its newest lines in so many files of so many bytes', async () => {
  const log = rotatingFile(join(directory, 'logs', 'a.log'), { maxBytes: 100, keep: 2 })
  for (let line = 0; line < 50; line += 1) log.write(`line ${String(line).padStart(4, '0')}\n`)
  const folder = join(directory, 'logs')
  expect((await readdir(folder)).toSorted()).toEqual(['a.log', 'a.log.1', 'a.log.2'])
  const files = await Promise.all(['a.log.2', 'a.log.1', 'a.log'].map((name) => readFile(join(folder, name), 'utf8')))
  for (const text of files) expect(text.length).toBeLessThanOrEqual(100)
  const numbers = files
    .join('')
    .trim()
    .split('\n')
    .map((line) => Number(line.slice(5)))
  expect(numbers.at(-1)).toBe(49)
  expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => 50 - numbers.length + index))
})

test('a process that starts again goes on with the file; a line longer than a file is written whole', async () => {
  const path = join(directory, 'a.log')
  await writeFile(path, 'before\n')
  rotatingFile(path, { maxBytes: 100, keep: 1 }).write('after\n')
  expect(await readFile(path, 'utf8')).toBe('before\nafter\n')
  rotatingFile(path, { maxBytes: 100, keep: 1 }).write(`${'x'.repeat(500)}\n`)
  expect((await stat(path)).size).toBe(501)
  expect(await readFile(`${path}.1`, 'utf8')).toBe('before\nafter\n')
})

test('a log that can not be written ends nothing', async () => {
  const log = rotatingFile(join(directory, 'a.log'), { maxBytes: 10, keep: 1 })
  await rm(directory, { recursive: true })
  expect(() => log.write('lost\n')).not.toThrow()
})
