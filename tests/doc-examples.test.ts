import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import ts from 'typescript'
import { createClient, RunError, Vm0, Vm0Error, type Session } from '../packages/vm0/src/index.js'
import { documentedMembers } from './support/doc-examples.js'
import { TestPlatform } from './support/platform.js'

const members = documentedMembers()
const examples = members.flatMap(({ name, examples: all }) => all.map((code): [string, string] => [name, code]))

test('every public member says what it is, with an example', () => {
  expect(members.length).toBeGreaterThan(50)
  expect(members.filter(({ hasText }) => !hasText).map(({ name }) => name)).toEqual([])
  expect(members.filter((member) => member.examples.length === 0).map(({ name }) => name)).toEqual([])
})

let platform: TestPlatform
let session: Session
let folder: string
const home = process.cwd()
beforeAll(async () => {
  const steps = [
    { text: 'Hello. ', tools: [{ name: 'Bash', input: { command: 'echo hello', description: 'x' } }] },
    { text: 'Done.' },
  ]
  platform = await TestPlatform.start([{ name: 'examples', conversations: [{ when: '.', steps }] }])
  folder = await mkdtemp(join(tmpdir(), 'vm0-examples-'))
  await mkdir(join(folder, 'fixtures'))
  await writeFile(join(folder, 'README.md'), 'read me')
  process.chdir(folder)
  session = await platform.client.sessions.create()
  // So that there is something to save.
  await session.exec('echo begun > README.md')
})
afterAll(async () => {
  process.chdir(home)
  await platform.stop()
  await rm(folder, { recursive: true, force: true })
})

const AsyncFunction = (async () => undefined).constructor as new (
  ...args: string[]
) => (...args: unknown[]) => Promise<void>

/** A program around an example: what it may use of the package, a session, an error, and streams that nobody reads. */
const scope = () => ({
  vm0: platform.client,
  createClient,
  Vm0,
  RunError,
  Vm0Error,
  session,
  error: new Vm0Error('FILE_NOT_FOUND', '/nothing does not exist'),
  console: { log: () => undefined },
  process: { stdout: { write: () => true }, exitCode: 0 },
})

test.each(examples)('the example of %s runs', async (_name, code) => {
  const program = ts.transpile(code.replaceAll(/^import .*$/gm, ''), { target: ts.ScriptTarget.ES2022 })
  const names = scope()
  await new AsyncFunction(...Object.keys(names), `{ ${program} }`)(...Object.values(names))
})
