import type { Script } from '@vm0/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Run, Session, Vm0Event } from '../packages/vm0/src/index.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'

const bash = (line: string) => [{ name: 'Bash', input: { command: line, description: 'x' } }]
const write = (mib: number) => `head -c ${mib}M /dev/urandom > /workspace/data-$RANDOM`
/** Works on until the test says so. */
const untilTold = 'until [ -e /workspace/told ]; do sleep 0.05; done'

const script: Script = {
  name: 'storage',
  conversations: [
    { when: 'write a little', steps: [{ tools: bash(write(2)) }, { text: 'written' }] },
    {
      when: 'write much, then wait',
      steps: [{ tools: bash(write(10)) }, { tools: bash(untilTold) }, { text: 'written' }],
    },
    {
      when: 'nearly fill the disk',
      steps: [
        { tools: bash(`head -c 112M /dev/zero > /workspace/fill; ${untilTold}`) },
        { text: 'there is room left' },
      ],
    },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], {}, { args: ['--warm', '0'] })
})
afterAll(() => platform?.stop())

/** Follows the run; lets its agent go on when this event has come. */
async function eventsUntil(run: Run, session: Session, type: Vm0Event['type']): Promise<Vm0Event[]> {
  const seen: Vm0Event[] = []
  for await (const event of run) {
    seen.push(event)
    if (event.type === type) await session.files.write('/workspace/told', '')
  }
  return seen
}

test('a run is told at nine tenths of its quota and saved beyond it; new ones are refused with what holds most', async () => {
  const { client, key } = await platform.project('team')
  const small = (await client.run({ prompt: 'write a little' })).session
  expect(await client.projects.storage()).toMatchObject({
    project: 'team',
    quotaBytes: null,
    sessions: [{ checkpoints: 2 }],
  })
  const set = await platform.cli('projects', 'set', 'team', '--quota', '12MiB', '--json')
  expect(JSON.parse(set.stdout)).toMatchObject({ id: 'team', quotaBytes: 12 * 1024 ** 2 })

  const session = await client.sessions.create()
  const run = session.run('write much, then wait')
  const events = await eventsUntil(run, session, 'project.quota_pressure')
  const told = events.filter(({ type }) => type === 'project.quota_pressure')
  expect(told).toMatchObject([{ quotaBytes: 12 * 1024 ** 2 }])
  expect(events.at(-1)).toMatchObject({ type: 'run.finished', outcome: 'succeeded' })

  const { storedBytes, sessions } = await client.projects.storage()
  expect(storedBytes).toBeGreaterThan(12 * 1024 ** 2)
  expect(sessions.map(({ id }) => id)).toEqual([session.id, small.id])
  const refusal = {
    code: 'QUOTA_EXCEEDED',
    message: expect.stringMatching(new RegExp(`12\\.\\d MiB.*quota is 12\\.0 MiB.*${session.id} \\(10`)) as string,
  }
  await expect(client.run({ prompt: 'write a little' })).rejects.toMatchObject(refusal)
  await expect(session.run('write a little')).rejects.toMatchObject(refusal)
  const upload = await platform.fetch(`/v1/uploads/sha256:${'0'.repeat(64)}`, { method: 'PUT', key, body: 'x' })
  expect([upload.status, ((await upload.json()) as { code: string }).code]).toEqual([403, 'QUOTA_EXCEEDED'])
  // Nor does a template begin to be built: what its steps would take is not lost.
  const fromRecipe = ['templates', 'build', 'tools', '--run', 'touch /built']
  const fromSession = ['templates', 'from-session', session.id, 'tools']
  for (const words of [fromRecipe, fromSession]) {
    const built = await command(platform, words, { env: { VM0_API_KEY: key, VM0_API_URL: platform.url } })
    expect([built.status, built.stderr]).toEqual([2, expect.stringContaining('QUOTA_EXCEEDED')])
    expect(built.stderr).not.toContain('touch /built')
  }
  expect((await client.templates.list()).items.map(({ name }) => name)).not.toContain('tools')
  // What is there can be looked at, brought home and saved.
  expect((await session.exec('ls /workspace')).stdout).toContain('data-')
  await session.close()
  const shown = await command(platform, ['projects', 'show'], { env: { VM0_API_KEY: key, VM0_API_URL: platform.url } })
  expect(shown.stdout).toMatch(/project team: 12\.\d MiB in checkpoints; quota 12\.0 MiB \(10\d%\)/)

  await session.delete()
  expect((await client.run({ prompt: 'write a little' })).outcome).toBe('succeeded')
})

test('only a key of the installation sets a quota', async () => {
  const { key } = await platform.project('greedy')
  const request = { method: 'PATCH', key, body: '{"quotaBytes":null}' }
  expect((await platform.fetch('/v1/projects/greedy', request)).status).toBe(403)
  const unknown = await platform.cli('projects', 'set', 'nobody', '--quota', 'none')
  expect(unknown).toMatchObject({ status: 2, stderr: expect.stringContaining('NOT_FOUND') })
  const odd = await platform.cli('projects', 'set', 'greedy', '--quota', '-5')
  expect(odd.status).toBe(2)
  const listed = await command(platform, ['projects', '--json'])
  expect(objects(listed).map(({ id }) => id)).toContain('greedy')
})

test('a run is told at nine tenths of its disk, before what it writes fails', async () => {
  const session = await platform.client.sessions.create({ resources: { diskMiB: 128 } })
  const run = session.run('nearly fill the disk')
  const events = await eventsUntil(run, session, 'sandbox.disk_pressure')
  const told = events.filter((event) => event.type === 'sandbox.disk_pressure')
  expect(told).toHaveLength(1)
  expect(told[0]!.usedBytes / told[0]!.totalBytes).toBeGreaterThanOrEqual(0.9)
  expect(told[0]!.usedBytes).toBeLessThan(told[0]!.totalBytes)
  expect((await run.result()).outcome).toBe('succeeded')
})
