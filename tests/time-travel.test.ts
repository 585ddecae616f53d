import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CheckpointView, Session } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const bash = (command: string) => ({ name: 'Bash', input: { command, description: 'Work' } })
const count = 6
const script = {
  name: 'time-travel',
  conversations: [
    {
      when: '^count$',
      steps: [
        ...Array.from({ length: count }, (_, index) => ({
          tools: [bash(`echo step-${index + 1} > f && echo ${index + 1} >> all`)],
        })),
        { tools: [{ name: 'Read', input: { file_path: '/workspace/all' } }] },
        { tools: [bash('ls')] },
        { text: 'counted' },
      ],
    },
    // What of the conversation is there, the agent's own words tell: its request is in `model.requests`.
    { when: '^go on', steps: [{ text: 'on it goes' }] },
    { when: '^variant', steps: [{ tools: [bash('date +%N > variant')] }, { text: 'done' }] },
    { when: '^wait', steps: [{ tools: [bash('sleep 300')] }, { text: 'waited' }] },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script])
})
afterAll(() => platform.stop())

const all = async (session: Session): Promise<CheckpointView[]> =>
  Promise.all((await session.checkpoints.list({ limit: 100 })).items.map((checkpoint) => checkpoint.get()))

/** What the model was told last, as JSON. */
const lastRequest = (): string => JSON.stringify(platform.model.requests.at(-1)?.messages)

describe('within a run', () => {
  let session: Session
  let views: CheckpointView[]
  beforeAll(async () => {
    session = (await platform.client.run({ prompt: 'count' })).session
    views = await all(session)
  })

  test('each batch of tool calls that changed files has a checkpoint, with the call that led to it', () => {
    expect(views.map(({ cause }) => cause)).toEqual(['run', ...Array.from({ length: count }, () => 'tool')])
    const titles = views
      .filter(({ cause }) => cause === 'tool')
      .map(({ toolCalls }) => toolCalls.map(({ title }) => title))
    expect(titles.toReversed()).toEqual(
      Array.from({ length: count }, (_, index) => [`echo step-${index + 1} > f && echo ${index + 1} >> all`]),
    )
    expect(views.map(({ parent }) => parent)).toEqual([...views.slice(1).map(({ id }) => id), null])
    expect(views[0]).toMatchObject({ isHead: true, outcome: 'succeeded' })
  })

  test('files and conversation of each are those of its instant, however fast the model answers', async () => {
    for (const [index, view] of views.slice(1).toReversed().entries()) {
      const fork = await platform.client.checkpoints.get(view.id).fork()
      const { stdout } = await fork.exec('cat f; tail -n 1 all')
      expect(stdout).toBe(`step-${index + 1}\n${index + 1}\n`)
      await fork.run('go on')
      const told = lastRequest()
      expect(told).toContain(`echo step-${index + 1} `)
      expect(told.match(/"type":"tool_result"/g)).toHaveLength(index + 1)
      expect(told).not.toContain(`echo step-${index + 2} `)
      expect(told).not.toContain('counted')
      await fork.delete()
    }
  })

  test('a policy of its own has fewer of them, or none', async () => {
    const rare = await platform.client.run({ prompt: 'count', checkpoints: { minIntervalMs: 3_600_000 } })
    expect((await all(rare.session)).map(({ cause }) => cause)).toEqual(['run', 'tool'])
    const none = await platform.client.run({ prompt: 'count', checkpoints: 'off' })
    expect((await all(none.session)).map(({ cause }) => cause)).toEqual(['run'])
  })

  test('the log draws them, and a fork is made by the beginning of an id', async () => {
    const drawn = await platform.cli('log', session.id)
    expect(drawn).toMatchObject({ status: 0, stderr: '' })
    const lines = drawn.stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(count + 1)
    expect(lines[0]).toMatch(/^\* {2}[0-9a-f]{8} {2}run [0-9a-f]{8} succeeded .*← head$/)
    expect(lines[1]).toMatch(/▸ Bash echo step-6 > f/)
    const id = (views[2] as CheckpointView).id.slice(7, 15)
    const { stdout } = await platform.cli('fork', id, '--json')
    const { sessionId } = JSON.parse(stdout) as { sessionId: string }
    expect((await platform.client.sessions.get(sessionId).exec('cat f')).stdout).toBe('step-5\n')
    expect((await platform.cli('log', session.id)).stdout).toContain(`forked to ${sessionId.slice(-8)}`)
  })
})

test('a session goes back, and forth again, with its conversation; what was not saved yet is saved before', async () => {
  const { session } = await platform.client.run({ prompt: 'count' })
  const [, , third] = (await all(session)).toReversed()
  await session.exec('echo mine > unsaved')
  await session.rollback((third as CheckpointView).id)
  expect((await session.exec('ls; cat f')).stdout).toBe('all\nf\nstep-3\n')
  await session.run('go on')
  expect(lastRequest()).toContain('echo step-3 ')
  expect(lastRequest()).not.toContain('echo step-4 ')
  const views = await all(session)
  const closed = views.find(({ cause }) => cause === 'close' || cause === 'exec') as CheckpointView
  await session.rollback(closed.id)
  expect((await session.exec('ls; cat f unsaved')).stdout).toBe(`all\nf\nunsaved\nstep-${count}\nmine\n`)
  await session.run('go on')
  expect(lastRequest()).toContain(`echo step-${count} `)
  // Two branches from the third one.
  const drawn = (await platform.cli('log', session.id, '--limit', '50')).stdout
  expect(drawn).toContain('|/')
})

test('many runs begin side by side at one state', async () => {
  const { checkpoint } = await platform.client.run({ prompt: 'count' })
  const from = checkpoint as string
  const runs = await Promise.all([1, 2, 3, 4].map((each) => platform.client.run({ from, prompt: `variant ${each}` })))
  const seen = await Promise.all(runs.map(({ session }) => session.exec('cat f variant')))
  expect(seen.every(({ stdout }) => stdout.startsWith(`step-${count}\n`))).toBe(true)
  expect(new Set(seen.map(({ stdout }) => stdout)).size).toBe(runs.length)
  expect(new Set(runs.map(({ session }) => session.id)).size).toBe(runs.length)
})

test('a fork stands when the session that it comes from is deleted', async () => {
  const { session } = await platform.client.run({ prompt: 'count' })
  const fork = await session.fork({ labels: { kind: 'fork' } })
  const [first] = (await all(session)).toReversed()
  await session.delete()
  expect((await fork.exec('cat f')).stdout).toBe(`step-${count}\n`)
  expect(await fork.get()).toMatchObject({ labels: { kind: 'fork' } })
  await expect(platform.client.checkpoints.get((first as CheckpointView).id).fork()).rejects.toMatchObject({
    code: 'CHECKPOINT_NOT_FOUND',
  })
})

test('a name is kept; what is not saved yet goes into a fork', async () => {
  const session = await platform.client.sessions.create()
  await expect(session.checkpoints.latest()).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' })
  await session.exec('echo 1 > one')
  const named = await session.checkpoints.create({ name: 'before the migration' })
  expect(await named.get()).toMatchObject({ cause: 'manual', name: 'before the migration', isHead: true })
  await session.exec('echo 2 > two')
  const fork = await session.fork()
  expect((await fork.exec('ls')).stdout).toBe('one\ntwo\n')
  await fork.rollback((await fork.get()).origin as string)
})

test('what can not be gone back to is told before anything is done', async () => {
  const { client } = platform
  const mine = (await client.run({ prompt: 'count' })).session
  const other = (await client.run({ prompt: 'count' })).session
  const { id } = await other.checkpoints.latest()
  await expect(mine.rollback(id)).rejects.toMatchObject({ code: 'CHECKPOINT_OF_ANOTHER_SESSION' })
  const unknown = `sha256:${'0'.repeat(64)}`
  await expect(mine.rollback(unknown)).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' })
  await expect(mine.rollback('nonsense')).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  await expect(client.run({ from: unknown, prompt: 'go on' })).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' })
  await expect(client.run({ from: id, template: 'standard', prompt: 'go on' })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  })
  await expect(client.run({ from: id, session: mine, prompt: 'go on' })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  })
  const project = await platform.project('elsewhere')
  await expect(project.client.checkpoints.get(id).fork()).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' })
  const own = await mine.checkpoints.latest()
  const busy = mine.run('wait')
  for await (const event of busy) if (event.type === 'tool.started') break
  await expect(mine.rollback(own)).rejects.toMatchObject({ code: 'SESSION_BUSY' })
  await expect(mine.checkpoints.create()).rejects.toMatchObject({ code: 'SESSION_BUSY' })
  await busy.cancel()
  await busy.result()
})
