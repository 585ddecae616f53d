import { once } from 'node:events'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { compareCursors, type EventType, type Vm0Event } from '@vm0/contract'
import type { Script } from '@vm0/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { onHost } from './support/leftovers.js'
import { TestPlatform } from './support/platform.js'

const bash = (command: string) => [{ name: 'Bash', input: { command, description: 'x' } }]
const append = (text: string, seconds = 0) => bash(`sleep ${seconds}; echo ${text} >> /workspace/lines.txt`)

const script: Script = {
  name: 'adoption',
  conversations: [
    {
      when: 'work slowly',
      steps: [{ tools: append('one', 3) }, { tools: append('two', 1) }, { text: 'all is done' }],
    },
    {
      when: 'tell a long story',
      steps: [{ text: 'once upon a time there was '.repeat(20), chunkDelayMs: 60 }],
    },
    {
      when: 'work on and on',
      steps: [...[1, 2, 3, 4, 5, 6].map((n) => ({ tools: append(String(n), 0.5) })), { text: 'all is done' }],
    },
    { when: 'be quick', steps: [{ tools: append('quick') }, { text: 'that was quick' }] },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], {}, { args: ['--warm', '0'], samePort: true })
})
afterAll(() => platform?.stop())

/** Follows a run to its end by one iterator, over all that happens to the platform; `at` is called at an event of this type. */
async function follow(run: AsyncIterable<Vm0Event>, type: EventType, at: () => Promise<void>): Promise<Vm0Event[]> {
  const events: Vm0Event[] = []
  let happened: Promise<void> | undefined
  for await (const event of run) {
    events.push(event)
    if (event.type === type) happened ??= at()
  }
  await happened
  return events
}

async function killAndStart(afterMs = 0): Promise<void> {
  await wait(afterMs)
  await platform.kill()
  await platform.up()
}

/** Every event once, in order, and no number is missing. */
function expectWhole(events: Vm0Event[]): void {
  const cursors = events.map(({ cursor }) => cursor)
  expect(cursors.toSorted(compareCursors)).toEqual(cursors)
  const [queued, ...rest] = cursors
  expect(queued).toBe('0.1')
  const [epoch] = (rest[0] as string).split('.')
  expect(rest).toEqual(rest.map((_, index) => `${epoch}.${index + 1}`))
  const starts = events
    .filter(({ type }) => type === 'tool.started')
    .map((event) => (event as { toolId: string }).toolId)
  expect(new Set(starts).size).toBe(starts.length)
}

/** What the story is made of, without what depends on how fast it goes. */
function typesOf(events: Vm0Event[]): string[] {
  const steady = ['run.started', 'tool.started', 'tool.finished', 'message', 'agent.finished', 'run.finished']
  return events.map(({ type }) => type).filter((type) => steady.includes(type))
}

const cases: [name: string, prompt: string, at: EventType, afterMs: number, text: RegExp, lines: string][] = [
  ['before the agent has asked its model', 'work slowly', 'sandbox.ready', 0, /all is done/, 'one\ntwo\n'],
  ['in the middle of a tool call', 'work slowly', 'tool.started', 300, /all is done/, 'one\ntwo\n'],
  ['as a tool call ends', 'work slowly', 'tool.finished', 0, /all is done/, 'one\ntwo\n'],
  [
    "in the middle of a model's answer",
    'tell a long story',
    'message.delta',
    500,
    /^(once upon a time there was ){20}$/,
    '',
  ],
  ['as the agent ends its turn', 'be quick', 'agent.finished', 0, /quick/, 'quick\n'],
  ['while the session is saved', 'be quick', 'agent.finished', 20, /quick/, 'quick\n'],
  ['between upload and commit', 'be quick', 'agent.finished', 60, /quick/, 'quick\n'],
  [
    'as a checkpoint within the run is committed',
    'work slowly',
    'checkpoint.committed',
    0,
    /all is done/,
    'one\ntwo\n',
  ],
]

test.each(cases)('the platform is killed %s: the run goes on', async (_, prompt, at, afterMs, text, lines) => {
  const run = platform.client.run({ prompt })
  const events = await follow(run, at, () => killAndStart(afterMs))
  const result = await run.result()
  expect([result.outcome, result.error]).toEqual(['succeeded', null])
  expect(result.text).toMatch(text)
  expectWhole(events)
  expect(await run.session.files.readText('/workspace/lines.txt').catch(() => '')).toBe(lines)
  await run.session.delete()
})

test('a run that began in a warm sandbox goes on, and so does the next one of its agent', async () => {
  const warm = await TestPlatform.start([script], {}, { args: ['--warm', '1'], samePort: true })
  try {
    while ((await warm.client.runners.list())[0]!.warm === 0) await wait(50)
    const first = warm.client.run({ prompt: 'work slowly' })
    const kill = async () => {
      await warm.kill()
      await warm.up()
    }
    const events = await follow(first, 'tool.started', kill)
    expect(events.find(({ type }) => type === 'sandbox.ready')).toMatchObject({ how: 'warm' })
    expect((await first.result()).outcome).toBe('succeeded')
    expectWhole(events)
    const second = first.session.run('work slowly')
    const more = await follow(second, 'tool.started', kill)
    // The agent has been through the warm-up, a run and a restart before.
    expect(more.find(({ type }) => type === 'sandbox.ready')).toMatchObject({ how: 'session' })
    expect((await second.result()).outcome).toBe('succeeded')
    expectWhole(more)
    expect(typesOf(more)).toEqual(typesOf(events))
    expect(await first.session.files.readText('/workspace/lines.txt')).toBe('one\ntwo\none\ntwo\n')
  } finally {
    await warm.stop()
  }
})

test('an agent that ends while no platform is there is started again', async () => {
  const run = platform.client.run({ prompt: 'work slowly' })
  const events = await follow(run, 'tool.finished', async () => {
    await platform.kill()
    const [id] = await readdir(join(platform.dataDir, 'sandboxes'))
    const records = join(platform.dataDir, 'sandboxes', id as string)
    const agent = (await readdir(records)).find((name) => name.startsWith('agent-')) as string
    process.kill(Number(await readFile(join(records, agent, 'pid'), 'utf8')), 'SIGKILL')
    await platform.up()
  })
  expect((await run.result()).outcome).toBe('succeeded')
  expectWhole(events)
  expect(events.filter(({ type }) => type === 'run.resumed')).toMatchObject([{ attempt: 2, reason: 'agent_killed' }])
  await run.session.delete()
})

test('killed again and again in one run', async () => {
  const run = platform.client.run({ prompt: 'work on and on' })
  const events: Vm0Event[] = []
  const kills: Promise<void>[] = []
  for await (const event of run) {
    events.push(event)
    const last = kills.at(-1) ?? Promise.resolve()
    if (event.type === 'tool.started' && kills.length < 4) kills.push(last.then(() => killAndStart(37 * kills.length)))
  }
  await Promise.all(kills)
  expect((await run).outcome).toBe('succeeded')
  expectWhole(events)
  expect(await run.session.files.readText('/workspace/lines.txt')).toBe('1\n2\n3\n4\n5\n6\n')
  await run.session.delete()
})

test('what was said to the agent before the platform was killed is answered, once', async () => {
  const run = platform.client.run({ prompt: 'work slowly' })
  const events = await follow(run, 'tool.started', async () => {
    await run.send('and be quick')
    await killAndStart()
  })
  expect((await run).outcome).toBe('succeeded')
  expectWhole(events)
  expect(events.filter(({ type }) => type === 'input.sent')).toMatchObject([{ text: 'and be quick' }])
  const asked = platform.model.requests.filter((body) => JSON.stringify(body).includes('and be quick'))
  expect(JSON.stringify(asked.at(-1)).split('and be quick').length).toBe(2)
  await run.session.delete()
})

test('a run that was being cancelled when the platform was killed is cancelled', async () => {
  const run = platform.client.run({ prompt: 'work slowly' })
  const events = await follow(run, 'tool.started', async () => {
    await run.cancel()
    await killAndStart()
  })
  expect((await run.result()).outcome).toBe('cancelled')
  expectWhole(events)
  await run.session.delete()
})

test('killed while a session is restored: its run is lived from its start', async () => {
  const first = platform.client.run({ prompt: 'be quick' })
  await first
  await first.session.close()
  for (const afterMs of [0, 60, 150, 300]) {
    const run = first.session.run('be quick again')
    const events = await follow(run, 'run.queued', () => killAndStart(afterMs))
    expect([afterMs, (await run).outcome]).toEqual([afterMs, 'succeeded'])
    expectWhole(events)
    await first.session.close()
  }
  expect(await first.session.files.readText('/workspace/lines.txt')).toBe('quick\n'.repeat(5))
  await first.session.delete()
})

test('killed while a session is idle: what was done in it since its checkpoint is there, and what runs in it goes on', async () => {
  const { session } = await platform.client.run({ prompt: 'be quick' })
  await session.exec('setsid sh -c "while :; do date >> /workspace/ticks; sleep 0.05; done" >/dev/null 2>&1 &')
  await session.files.write('/workspace/kept.txt', 'kept')
  await session.files.write('/workspace/removed.txt', 'saved, and removed since')
  await session.checkpoints.create({ name: 'with the file' })
  await session.exec('rm removed.txt')
  const cutOff = session.exec('sleep 4321').catch(() => undefined)
  while (!(await session.exec('cat /proc/[0-9]*/cmdline | tr "\\0" " "')).stdout.includes('sleep 4321')) await wait(20)
  await killAndStart()
  await cutOff
  // Nobody waits for its output any more.
  expect((await session.exec('cat /proc/[0-9]*/cmdline | tr "\\0" " "')).stdout).not.toContain('sleep 4321')
  expect(await session.files.readText('/workspace/kept.txt')).toBe('kept')
  const ticks = async () => Number((await session.exec('wc -l < /workspace/ticks')).stdout)
  const before = await ticks()
  while ((await ticks()) <= before) await wait(20)
  const again = session.run('be quick again')
  const ready = []
  for await (const event of again) if (event.type === 'sandbox.ready') ready.push(event)
  expect(ready).toMatchObject([{ how: 'session' }])
  expect((await again).outcome).toBe('succeeded')
  await session.close()
  expect(await session.files.readText('/workspace/kept.txt')).toBe('kept')
  expect(await session.files.readText('/workspace/lines.txt')).toBe('quick\nquick\n')
  expect((await session.exec('ls')).stdout).not.toContain('removed.txt')
  await session.delete()
})

test('a start that fails for its port leaves alone what is at work', async () => {
  const run = platform.client.run({ prompt: 'work slowly' })
  const events = await follow(run, 'tool.started', async () => {
    await platform.kill()
    const { hostname, port } = new URL(platform.url)
    const other = createServer((socket) => socket.destroy()).listen(Number(port), hostname)
    await once(other, 'listening')
    await expect(platform.up()).rejects.toThrow('PORT_TAKEN')
    other.close()
    await platform.up()
  })
  expect((await run.result()).outcome).toBe('succeeded')
  expectWhole(events)
  await run.session.delete()
})

test('a record of another release is not adopted', async () => {
  const run = platform.client.run({ prompt: 'work slowly', onLoss: 'fail' })
  const events = await follow(run, 'tool.started', async () => {
    await platform.kill()
    const folder = join(platform.dataDir, 'sandboxes')
    for (const id of await readdir(folder)) {
      const journal = join(folder, id, 'journal.ndjson')
      await writeFile(journal, (await readFile(journal, 'utf8')).replace('"v":1', '"v":2'))
    }
    await platform.up()
  })
  expect(events.at(-1)).toMatchObject({ type: 'run.finished', outcome: 'died', reason: 'host_lost' })
  // Why it died is what the platform itself knows; what was at work then is named, and not blamed.
  expect(await run.why()).toMatchObject({
    reason: 'host_lost',
    certainty: 'known',
    culprit: { toolId: expect.stringMatching(/^toolu_/) },
    next: [expect.stringMatching(/^Go on from the last checkpoint/)],
  })
  await run.session.delete()
})

test('after all of it, a platform that is stopped leaves nothing on the host', async () => {
  await platform.signal('SIGTERM')
  const left = Object.entries(await onHost(platform.dataDir)).filter(([, names]) => (names as string[]).length > 0)
  expect(left).toEqual([])
})
