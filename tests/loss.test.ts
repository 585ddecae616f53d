import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { EventOf, EventType, Vm0Event } from '@vm0/contract'
import type { Script } from '@vm0/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Run } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const bash = (command: string) => [{ name: 'Bash', input: { command, description: 'x' } }]

const script: Script = {
  name: 'loss',
  conversations: [
    {
      when: 'Note from the platform',
      steps: [
        { tools: bash('[ -e /workspace/crash ] && kill -9 $PPID; echo resumed >> /workspace/log') },
        { text: 'finished after all' },
      ],
    },
    {
      when: 'work in two steps',
      steps: [
        { tools: bash('echo one >> /workspace/log') },
        { tools: bash('echo two >> /workspace/log; sleep 60') },
        { text: 'never' },
      ],
    },
    { when: 'crash', steps: [{ tools: bash('touch /workspace/crash; kill -9 $PPID') }, { text: 'never' }] },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], {}, { args: ['--warm', '0'], samePort: true })
})
afterAll(() => platform?.stop())

/** Of the one sandbox that there is, the processes of the host that are its first one and its agent. */
async function processes(): Promise<{ init: number; agent: number }> {
  const folder = join(platform.dataDir, 'sandboxes')
  const [id] = await readdir(folder)
  const records = join(folder, id as string)
  const agents = (await readdir(records)).filter((name) => name.startsWith('agent-'))
  const { init } = JSON.parse(await readFile(join(records, 'sandbox.json'), 'utf8')) as { init: { pid: number } }
  return { init: init.pid, agent: Number(await readFile(join(records, agents.at(-1) as string, 'pid'), 'utf8')) }
}

/** Follows a run; something happens as its second tool call is at work. */
async function withLoss(run: Run, happen: () => Promise<unknown>): Promise<Vm0Event[]> {
  const events: Vm0Event[] = []
  let happened: Promise<unknown> | undefined
  for await (const event of run) {
    events.push(event)
    if (!happened && of(events, 'tool.started').length === 2 && of(events, 'checkpoint.committed').length === 1)
      happened = atWork(run).then(happen)
  }
  await happened
  return events
}

async function atWork({ session }: Run): Promise<void> {
  await expect.poll(() => session.files.readText('/workspace/log').catch(() => '')).toBe('one\ntwo\n')
}

function of<T extends EventType>(events: Vm0Event[], type: T): EventOf<T>[] {
  return events.filter((event): event is EventOf<T> => event.type === type)
}

const losses: [name: string, happen: () => Promise<unknown>, reason: string, log: string][] = [
  ['its agent is killed', async () => process.kill((await processes()).agent, 'SIGKILL'), 'agent_killed', 'one\ntwo\n'],
  [
    'its sandbox is killed',
    async () => process.kill((await processes()).init, 'SIGKILL'),
    'sandbox_lost',
    'one\ntwo\n',
  ],
  [
    'the platform is killed, and its sandbox too before the next one starts',
    async () => {
      const { init } = await processes()
      await platform.kill()
      process.kill(init, 'SIGKILL')
      await platform.up()
    },
    'host_lost',
    'one\n',
  ],
]

test.each(losses)('%s: the run goes on from what is left, and its agent is told', async (_, happen, reason, log) => {
  const run = platform.client.run({ prompt: 'work in two steps' })
  const events = await withLoss(run, happen)
  expect(await run.result()).toMatchObject({ outcome: 'succeeded', text: 'finished after all', error: null })
  expect(of(events, 'run.resumed')).toMatchObject([{ attempt: 2, reason }])
  expect(of(events, 'run.finished').length).toBe(1)
  // The agent goes on with the conversation that it had, and knows what happened.
  const last = JSON.stringify(platform.model.requests.at(-1))
  expect(last).toContain('work in two steps')
  expect(last).toContain(JSON.stringify(of(events, 'run.resumed')[0]!.note).slice(1, -1))
  expect((await run.get()).attempts).toBe(2)
  expect(await run.session.files.readText('/workspace/log')).toBe(`${log}resumed\n`)
  // The session is whole: it is closed, made anew and goes on.
  await run.session.close()
  expect(await run.session.files.readText('/workspace/log')).toBe(`${log}resumed\n`)
  await run.session.delete()
})

test.each(losses)('%s: with onLoss "fail" the run ends as died', async (_, happen, reason) => {
  const run = platform.client.run({ prompt: 'work in two steps', onLoss: 'fail' })
  const events = await withLoss(run, happen)
  const expected = reason === 'host_lost' ? 'host_lost' : 'agent_crashed'
  expect(await run.result()).toMatchObject({ outcome: 'died', reason: expected })
  expect(of(events, 'run.resumed')).toEqual([])
  expect((await run.get()).attempts).toBe(1)
  await run.session.delete()
})

test('an agent that ends itself again and again is started three times in all', async () => {
  const run = platform.client.run({ prompt: 'crash' })
  const events: Vm0Event[] = []
  for await (const event of run) events.push(event)
  expect(await run.result()).toMatchObject({ outcome: 'died', reason: 'agent_crashed' })
  expect(of(events, 'run.resumed').map(({ attempt }) => attempt)).toEqual([2, 3])
  await run.session.delete()
})
