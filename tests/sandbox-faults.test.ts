import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EventOf, Vm0Event } from '@vm0/contract'
import type { Run } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const bash = (command: string) => ({ tools: [{ name: 'Bash', input: { command, description: 'x' } }] })
const script = {
  name: 'sandbox-faults',
  conversations: [
    { when: '^work', steps: [bash('echo done >> /workspace/log'), { text: 'worked' }] },
    {
      when: '^end the sandbox',
      steps: [bash('echo before >> /workspace/log; kill -TERM 1; sleep 60'), { text: 'never' }],
    },
    {
      when: '^kill everything',
      steps: [bash('echo before >> /workspace/log; kill -9 -1; sleep 60'), { text: 'never' }],
    },
    {
      when: '^fork without end',
      steps: [
        bash(`echo before >> /workspace/log; setsid nohup python3 -c '
import os
while True:
    try: os.fork()
    except OSError: pass
' >/dev/null 2>&1 & sleep 1`),
        { text: 'forked' },
      ],
    },
    { when: '^eat memory', steps: [bash('python3 -c "kept = bytearray(4 << 30)"; echo status $?'), { text: 'ate' }] },
    {
      when: '^fill the disk',
      steps: [bash('cd /workspace; yes | head -c 2G > big; echo status $?'), { text: 'filled' }],
    },
    { when: '^talk without end', steps: [bash('yes | head -c 1G'), { text: 'talked' }] },
    {
      when: '^leave a child',
      steps: [bash('(setsid sleep 1000 >&2 &) ; echo left'), { text: 'left' }],
    },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], { VM0_MODEL_PATIENCE_SECONDS: '20' })
})
afterAll(() => platform?.stop())

async function eventsOf(run: Run): Promise<Vm0Event[]> {
  const events: Vm0Event[] = []
  for await (const event of run.events()) events.push(event)
  return events
}
async function endOf(run: Run): Promise<EventOf<'run.finished'>> {
  return (await eventsOf(run)).at(-1) as EventOf<'run.finished'>
}

test.each([
  ['end the sandbox', 'by a signal to its first process'],
  ['kill everything', 'with all processes in it'],
])('an agent that ends itself (%s: %s) has died; its work is there, and the session goes on', async (prompt) => {
  const session = await platform.client.sessions.create()
  const { outcome, reason, error } = await endOf(session.run({ prompt, onLoss: 'fail' }))
  expect([outcome, reason, error?.code]).toEqual(['died', 'agent_crashed', 'AGENT_CRASHED'])
  expect((await session.run('work')).outcome).toBe('succeeded')
  expect(await session.files.readText('/workspace/log')).toBe('before\ndone\n')
  await session.delete()
})

test('commands and files work in a session whose sandbox ended between two of them', async () => {
  const session = await platform.client.sessions.create()
  await session.exec('echo kept > /workspace/log; kill -TERM 1').catch(() => undefined)
  await expect
    .poll(() =>
      session.exec('cat log').then(
        ({ stdout }) => stdout,
        () => '',
      ),
    )
    .toBe('kept\n')
  expect(await session.files.readText('/workspace/log')).toBe('kept\n')
  await session.delete()
})

test('what a fork bomb leaves no room for starts in a fresh sandbox', async () => {
  const session = await platform.client.sessions.create({ resources: { processes: 100 } })
  await endOf(session.run('fork without end'))
  expect((await session.run({ prompt: 'work', model: 'another' })).outcome).toBe('succeeded')
  expect(await session.files.readText('/workspace/log')).toBe('before\ndone\n')
  await session.delete()
})

test('a tool that eats all memory is ended, told to the agent, and the run goes on', async () => {
  const session = await platform.client.sessions.create({ resources: { memoryMiB: 1024 } })
  const run = session.run('eat memory')
  expect((await run).text).toBe('ate')
  const [tool] = (await eventsOf(run)).filter((event) => event.type === 'tool.finished')
  expect(tool).toMatchObject({ output: expect.stringContaining('status 137') })
  expect((await session.run('work')).outcome).toBe('succeeded')
  await session.delete()
})

test('a full disk: the run ends with an outcome, the session is saved and usable, and goes on once it is cleared', async () => {
  const session = await platform.client.sessions.create({ resources: { diskMiB: 256 } })
  expect((await session.run('work')).outcome).toBe('succeeded')
  const filled = session.run('fill the disk')
  const { outcome } = await endOf(filled)
  expect(outcome).not.toBe('cancelled')
  expect((await session.get()).head).toBe((await filled.get()).checkpoint)
  await expect(session.files.write('/workspace/more', 'x'.repeat(10_000_000))).rejects.toMatchObject({
    code: 'SANDBOX_DISK_FULL',
  })
  expect(await session.files.readText('/workspace/log')).toBe('done\n')
  expect((await session.exec('rm -f /workspace/big /workspace/more && df --output=pcent / | tail -1')).exitCode).toBe(0)
  expect((await session.run('work')).outcome).toBe('succeeded')
  expect(await session.files.readText('/workspace/log')).toBe('done\ndone\n')
  await session.delete()
})

test('a tool that prints a gigabyte costs the platform neither memory nor disk', async () => {
  const run = platform.client.run({ prompt: 'talk without end' })
  expect((await run).outcome).toBe('succeeded')
  const bytes = (await eventsOf(run)).reduce((sum, event) => sum + JSON.stringify(event).length, 0)
  expect(bytes).toBeLessThan(10_000_000)
  await run.session.delete()
})

test('a child that a tool left behind holds up neither the run nor the next one', async () => {
  const session = await platform.client.sessions.create()
  expect((await session.run('leave a child')).outcome).toBe('succeeded')
  expect((await session.exec('pgrep -c sleep')).stdout).toBe('1\n')
  expect((await session.run({ prompt: 'work', model: 'another' })).outcome).toBe('succeeded')
  await session.delete()
})
