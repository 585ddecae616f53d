import { readFile, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient } from '../packages/vm0/src/index.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([workScript], {}, { args: ['--warm', '0'] })
})
afterAll(() => platform?.stop())

const rebuild = (...args: string[]) => command(platform, ['fsck', '--rebuild', '--data', platform.dataDir, ...args])
const clientOf = (apiKey: string) => createClient({ url: platform.url, apiKey })

test('the database is deleted, made anew from the store, and sessions go on: conversation, files, packages, projects', async () => {
  const { session } = await platform.client.run({ prompt: 'append a line' })
  const installed = await session.exec('apt-get update -qq && apt-get install -y -qq cowsay >/dev/null')
  expect(installed.exitCode).toBe(0)
  await session.run('append a line')
  await session.close()
  const { head } = await session.get()
  const { client: team } = await platform.project('team')
  const ofTeam = await team.sessions.create()
  await ofTeam.files.write('/workspace/file', 'of the team')
  await ofTeam.close()
  const running = await rebuild()
  expect(running).toMatchObject({ status: 1, stderr: expect.stringContaining('DATA_IN_USE') })

  const oldKey = platform.apiKey
  await platform.down()
  await rm(join(platform.dataDir, 'db'), { recursive: true })
  const rebuilt = await rebuild('--json')
  expect(rebuilt.status).toBe(0)
  const [report] = objects(rebuilt)
  expect(report).toMatchObject({
    projects: 2,
    sessions: 2,
    behind: [],
    problems: [],
    key: expect.stringMatching(/^vm0_/),
  })
  expect(report?.checkpoints).toBeGreaterThanOrEqual(3)
  const again = await rebuild('--json')
  expect(objects(again)[0]).toMatchObject({
    projects: 0,
    sessions: 0,
    checkpoints: 0,
    templates: 0,
    uploads: 0,
    behind: [],
    key: null,
  })

  await platform.up()
  expect(platform.apiKey).toBe(report?.key)
  await expect(clientOf(oldKey).sessions.list()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  const found = platform.client.sessions.get(session.id)
  expect(await found.get()).toMatchObject({ head, state: 'idle', framework: 'claude-code' })
  const before = platform.model.requests.length
  await found.run('append a line')
  // The agent's next request carries what was said before the database was lost.
  const asked = JSON.stringify(platform.model.requests.slice(before).map(({ messages }) => messages))
  expect(asked.match(/append a line/g)?.length).toBeGreaterThanOrEqual(3)
  expect(await found.files.readText('/workspace/lines.txt')).toBe('line\n'.repeat(3))
  expect((await found.exec('dpkg -s cowsay')).stdout).toContain('install ok installed')
  expect((await platform.client.store.fsck({ deep: true })).problems).toEqual([])
  const { key } = await platform.client.keys.create('new', { projectId: 'team', scopes: ['write'] })
  expect(
    await clientOf(key as string)
      .sessions.get(ofTeam.id)
      .files.readText('/workspace/file'),
  ).toBe('of the team')
})

test('a session whose newest checkpoint is damaged stands at the one before; rows that are there are not touched', async () => {
  const made = await platform.client.sessions.create({ labels: { kept: 'yes' } })
  await made.files.write('/workspace/file', 'one')
  await made.close()
  const { head: first } = await made.get()
  await made.files.write('/workspace/file', 'two')
  await made.close()
  const { head: second } = await made.get()
  const deleted = await platform.client.sessions.create()
  await deleted.exec('echo x > x')
  await deleted.close()
  await deleted.delete()
  await platform.down()

  // With its rows, a session keeps its labels, and a deleted one stays deleted.
  const kept = await rebuild('--json')
  expect(objects(kept)[0]).toMatchObject({ sessions: 0, key: null, behind: [] })

  const path = join(platform.dataDir, 'objects/manifests', (second as string).replace(':', '-'))
  const { layers } = JSON.parse(await readFile(path, 'utf8')) as { layers: { digest: string }[] }
  await truncate(join(platform.dataDir, 'objects/layers', layers.at(-1)!.digest.replace(':', '-')), 4096)
  await rm(join(platform.dataDir, 'db'), { recursive: true })
  const words = await rebuild()
  expect(words.status).toBe(3)
  expect(words.stdout).toContain(layers.at(-1)!.digest)
  expect(words.stdout).toContain(`session ${made.id}`)
  expect(words.stdout).toMatch(/New key of this installation: vm0_/)
  await platform.up()
  const found = platform.client.sessions.get(made.id)
  expect((await found.get()).head).toBe(first)
  expect(await found.files.readText('/workspace/file')).toBe('one')
})

test('what can not be rebuilt is refused with what to do', async () => {
  const nowhere = await command(platform, ['fsck', '--rebuild', '--data', join(platform.directory, 'nothing')])
  expect(nowhere).toMatchObject({ status: 2, stderr: expect.stringContaining('there is no data folder') })
  const beside = await command(platform, ['fsck', '--data', platform.dataDir])
  expect(beside).toMatchObject({ status: 2, stderr: expect.stringContaining('--rebuild') })
})
