import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'

const folder = join(import.meta.dirname, '../examples')

/** What each program must print, in order. */
const outputs: Record<string, RegExp> = {
  'quickstart.mjs': /write the order down.*it is in orders\.txt.*name: 'orders\.txt'.*\n0\n$/s,
  'events.mjs':
    /sandbox ready after \d+ ms.*agent: I'll ask the machine\..*Bash: .*Linux .*\nv\d+.*saved: .*output tokens/s,
  'session.mjs': /The total is 42\.5.*\ntotal: 42\.5\n.*\n0 .*expenses\.csv.*total\.txt/s,
  'side-by-side.mjs':
    /^Python: squares\.py prints them\. \(squares\.py, .*\nJavaScript: .*\(squares\.js, .*\nBash: .*\(squares\.sh, /,
  'cancel.mjs': /^cancelled: .*\nNot to a thousand: I was stopped\.\n$/,
}

let platform: TestPlatform
beforeAll(async () => {
  // As without a key: the platform plays the scripts that it ships.
  platform = await TestPlatform.start([], { ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '' })
})
afterAll(() => platform.stop())

test.each(Object.entries(outputs))('%s does what it says', async (name, output) => {
  const { status, stdout, stderr } = await platform.execute(process.execPath, join(folder, name))
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(output)
})

test('every example is run here', async () => {
  expect((await readdir(folder)).filter((name) => name.endsWith('.mjs'))).toEqual(Object.keys(outputs).toSorted())
})

test('the quickstart example is the program that the README begins with', async () => {
  const readme = await readFile(join(folder, '../README.md'), 'utf8')
  const [, program] = /```ts\n(.*?)```/s.exec(readme) ?? []
  expect(program).toBe(await readFile(join(folder, 'quickstart.mjs'), 'utf8'))
})
