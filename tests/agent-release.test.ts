import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultReleases } from '@vm0/frameworks'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Session } from '../packages/vm0/src/index.js'
import { command } from './support/command.js'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

/** A release that came after the one that set-up installs. */
const later = '2.1.332'
const first = defaultReleases['claude-code'] as string

const realCache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
let cache: string
let platform: TestPlatform

/** A cache of the test's own, so that other tests don't meet the release: the template and the first release by links. */
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), 'vm0-cache-'))
  const releases = join(cache, 'vm0/agents/claude-code')
  await mkdir(releases, { recursive: true })
  await symlink(join(realCache, 'templates'), join(cache, 'vm0/templates'))
  await symlink(join(realCache, 'agents/claude-code', first), join(releases, first))
  platform = await TestPlatform.start([workScript], { XDG_CACHE_HOME: cache }, { args: ['--warm', '0'] })
})
afterAll(async () => {
  await platform?.stop()
  await rm(cache, { recursive: true, force: true })
})

async function runAgain(session: Session): Promise<{ agentVersion: string | null; prompts: number }> {
  const before = platform.model.requests.length
  const run = session.run('append a line')
  await run
  const asked = JSON.stringify(platform.model.requests[before]?.messages)
  return { agentVersion: (await run.get()).agentVersion, prompts: asked.match(/append a line/g)?.length ?? 0 }
}

test('a session that began with one release of the agent goes on with a later one, conversation and all', async () => {
  const session = await platform.client.sessions.create()
  expect(await runAgain(session)).toEqual({ agentVersion: first, prompts: 1 })
  await session.close()

  const installed = await command(platform, ['frameworks', 'install', `claude-code@${later}`])
  expect(installed).toMatchObject({ status: 0, stderr: '' })
  expect(await readdir(join(cache, 'vm0/agents/claude-code'))).toContain(later)
  expect(await runAgain(session)).toEqual({ agentVersion: later, prompts: 2 })
  expect(await session.files.readText('/workspace/lines.txt')).toBe('line\nline\n')
})
