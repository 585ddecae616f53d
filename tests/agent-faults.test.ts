import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { EventOf, Vm0Event } from '@vm0/contract'
import type { Run } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const script = {
  name: 'agent-faults',
  conversations: [
    {
      when: 'work',
      steps: [
        { tools: [{ name: 'Bash', input: { command: 'echo done >> /workspace/log', description: 'x' } }] },
        { text: 'worked' },
      ],
    },
  ],
}
/** A flag of the agent's start: the process that lives can't take it. */
const anotherProcess = { systemPrompt: { append: 'Be brief.' } }
const realCache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
let cache: string
let releases: string
let platform: TestPlatform

/** A cache of the test's own: the real template and release by links, and releases that are broken. */
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), 'vm0-cache-'))
  releases = join(cache, 'vm0/agents/claude-code')
  await mkdir(releases, { recursive: true })
  await symlink(join(realCache, 'templates'), join(cache, 'vm0/templates'))
  for (const version of await readdir(join(realCache, 'agents/claude-code')))
    await symlink(join(realCache, 'agents/claude-code', version), join(releases, version))
  platform = await TestPlatform.start([script], { XDG_CACHE_HOME: cache, VM0_MODEL_PATIENCE_SECONDS: '8' })
})
afterAll(async () => {
  await platform?.stop()
  await rm(cache, { recursive: true, force: true })
})
afterEach(() => rm(join(releases, '99.0.0'), { recursive: true, force: true }))

async function endOf(run: Run): Promise<EventOf<'run.finished'>> {
  let last: Vm0Event | undefined
  for await (const event of run.events()) last = event
  if (last?.type !== 'run.finished') throw new Error(`the last event is ${last?.type}`)
  return last
}

/** The record that an install writes last. */
async function makeRelease(): Promise<void> {
  await mkdir(join(releases, '99.0.0'))
  await writeFile(join(releases, '99.0.0/release.json'), `${JSON.stringify({ version: '99.0.0' })}\n`)
}

async function breakRelease(binary: string | undefined): Promise<void> {
  await makeRelease()
  if (binary === undefined) return
  await writeFile(join(releases, '99.0.0/claude'), binary)
  await chmod(join(releases, '99.0.0/claude'), 0o755)
}

test.each<[string, string | undefined, string, string, RegExp]>([
  ['is missing', undefined, 'AGENT_START_FAILED', 'agent_crashed', /not found|No such file/],
  ['is no program', '\u0000\u0001garbage', 'AGENT_START_FAILED', 'agent_crashed', /format/i],
  [
    'crashes at its start',
    '#!/bin/sh\necho boom >&2\nexit 3\n',
    'AGENT_START_FAILED',
    'agent_crashed',
    /status 3 .*boom/,
  ],
  ['is killed at its start', '#!/bin/sh\nkill -SEGV $$\n', 'AGENT_START_FAILED', 'agent_crashed', /status 139/],
  [
    'never says a word',
    '#!/bin/sh\nexec sleep 1000\n',
    'AGENT_START_FAILED',
    'agent_hung',
    /asked its model for nothing/,
  ],
  [
    'says what is no protocol, and goes',
    '#!/bin/sh\nyes | head -1000\n',
    'AGENT_START_FAILED',
    'agent_crashed',
    /status 0/,
  ],
])(
  'an agent whose binary %s ends its run with a code; the session goes on with a good one',
  async (_name, binary, code, reason, told) => {
    const session = await platform.client.sessions.create()
    expect((await session.run('work')).outcome).toBe('succeeded')
    await breakRelease(binary)
    const { outcome, reason: found, error } = await endOf(session.run({ prompt: 'work', ...anotherProcess }))
    expect([outcome, found, error?.code]).toEqual(['died', reason, code])
    expect(error?.message).toMatch(told)
    expect(error?.hint).toContain('details.stderr')
    await rm(join(releases, '99.0.0'), { recursive: true })
    expect((await session.run('work')).outcome).toBe('succeeded')
    expect(await session.files.readText('/workspace/log')).toBe('done\ndone\n')
    await session.delete()
  },
)

test('a release that was installed while a session was in use is used by its next run', async () => {
  const session = await platform.client.sessions.create()
  await session.run('work')
  // A new release: the one that is there, under a later number. The sandbox that lives doesn't have it mounted.
  const [version] = (await readdir(releases)).toSorted()
  await makeRelease()
  await copyFile(join(realCache, 'agents/claude-code', version as string, 'claude'), join(releases, '99.0.0/claude'))
  const run = session.run({ prompt: 'work', ...anotherProcess })
  expect((await run).outcome).toBe('succeeded')
  const versions: string[] = []
  for await (const event of run.events()) if (event.type === 'sandbox.ready') versions.push(event.agentVersion)
  expect(versions.at(-1)).toBe('99.0.0')
  expect(await session.files.readText('/workspace/log')).toBe('done\ndone\n')
  await session.delete()
})

test('without any release a run says how to get one', async () => {
  const session = await platform.client.sessions.create()
  await session.run('work')
  const good = await readdir(releases)
  for (const version of good) await rm(join(releases, version))
  try {
    const { outcome, error } = await endOf(session.run({ prompt: 'work', ...anotherProcess }))
    expect([outcome, error?.code]).toEqual(['failed', 'AGENT_RELEASE_MISSING'])
    expect(error?.hint).toContain('vm0 frameworks install')
  } finally {
    for (const version of good) await symlink(join(realCache, 'agents/claude-code', version), join(releases, version))
  }
  expect((await session.run('work')).outcome).toBe('succeeded')
  await session.delete()
})
