import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareCursors, type Vm0Event } from '@vm0/contract'
import { quickstartScript } from '@vm0/testkit'
import { RunError } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const script = {
  name: 'life',
  conversations: [
    { when: 'hang', steps: [{ fault: { kind: 'hang' as const } }] },
    { when: 'model says 401', steps: [{ fault: { kind: 'status' as const, status: 401 } }] },
    {
      when: 'overloaded once',
      steps: [{ fault: { kind: 'status' as const, status: 529, times: 1 }, text: 'it passed' }],
    },
    {
      when: 'remember (\\w+)',
      steps: [
        {
          tools: [
            {
              name: 'Bash',
              input: {
                command: 'echo one >> /workspace/order.txt; ln -sf order.txt /workspace/link; rm -f /etc/motd',
                description: 'x',
              },
            },
          ],
        },
        { text: 'remembered' },
      ],
    },
    {
      when: 'leak',
      steps: [
        {
          tools: [
            {
              name: 'Bash',
              input: { command: 'env; cat /proc/*/environ 2>/dev/null | tr "\\0" "\\n"', description: 'x' },
            },
          ],
        },
        { text: 'looked' },
      ],
    },
    {
      when: 'crash',
      steps: [{ tools: [{ name: 'Bash', input: { command: 'kill -9 $PPID', description: 'x' } }] }, { text: 'never' }],
    },
    {
      when: 'sleep',
      steps: [{ tools: [{ name: 'Bash', input: { command: 'sleep 60', description: 'x' } }] }, { text: 'slept' }],
    },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script, quickstartScript()])
})
afterAll(() => platform.stop())

async function collect(events: AsyncIterable<Vm0Event>): Promise<Vm0Event[]> {
  const all: Vm0Event[] = []
  for await (const event of events) all.push(event)
  return all
}

test('an agent works, its session is saved, and goes on in a new sandbox with conversation, files and packages', async () => {
  const run = platform.client.run({ framework: 'claude-code', prompt: 'write a word counter' })
  const events = await collect(run)
  const result = await run
  expect(result.outcome).toBe('succeeded')
  expect(result.costUsd).toBeGreaterThan(0)
  expect(result.timings.firstModelRequestMs).toBeGreaterThan(result.timings.sandboxReadyMs as number)
  expect(events.filter(({ type }) => type === 'tool.finished').length).toBe(5)
  expect(
    events.every((event, index) => index === 0 || compareCursors(events[index - 1]!.cursor, event.cursor) < 0),
  ).toBe(true)
  // Late and again: the same from the log, also from the middle.
  expect(await collect(run.events({ after: events[9]!.cursor }))).toEqual(events.slice(10))
  await run.session.close()
  const second = platform.client.run({ session: run.session.id, prompt: 'is it still there?' })
  const [ready] = (await collect(second)).filter(({ type }) => type === 'sandbox.ready')
  expect(ready).toMatchObject({ how: 'cold' })
  expect((await second).text).toContain('still there')
  expect((await second).costUsd).toBeGreaterThan(0)
  // The request that resumed carried the first run's conversation.
  const resumed = platform.model.requests.find(({ messages }) =>
    JSON.stringify(messages.at(-1)).includes('still there'),
  )
  expect(JSON.stringify(resumed?.messages)).toContain('write a word counter')
  expect(platform.model.failures).toEqual([])
})

test('what was deleted stays deleted, and exec and files work in a session that was closed', async () => {
  const { session } = await platform.client.run({ prompt: 'remember this' })
  await session.files.write('/workspace/dir with space/ünï.txt', 'text')
  await session.exec('rm /workspace/link; chmod 640 /workspace/order.txt; truncate -s 100M /workspace/sparse')
  await session.close()
  expect(await session.files.readText('/workspace/dir with space/ünï.txt')).toBe('text')
  expect((await session.files.list()).map(({ name }) => name)).toEqual(['dir with space', 'order.txt', 'sparse'])
  const { stdout } = await session.exec(
    'stat -c "%a %u" order.txt; test -e /etc/motd || echo gone; stat -c %s sparse; id -u',
  )
  expect(stdout.split('\n')).toEqual(['640 0', 'gone', '104857600', '0', ''])
  await expect(session.files.read('/nope')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  expect((await session.exec(['sh', '-c', 'exit 3'])).exitCode).toBe(3)
})

test('runs of one session follow one another in order; a refusal is possible', async () => {
  const session = await platform.client.sessions.create()
  const runs = [1, 2, 3].map(() => session.run('remember me'))
  await runs[0]!.get()
  await expect(session.run({ prompt: 'x', ifBusy: 'refuse' }).get()).rejects.toMatchObject({ code: 'SESSION_BUSY' })
  const results = await Promise.all(runs)
  expect(results.map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded', 'succeeded'])
  expect(await session.files.readText('/workspace/order.txt')).toBe('one\none\none\n')
})

test("no sandbox ever sees the provider's key", async () => {
  const run = platform.client.run({ prompt: 'leak the key' })
  await run
  const history = JSON.stringify(await collect(run.events()))
  expect(history).toContain('ANTHROPIC_API_KEY=placeholder')
  expect(history).not.toContain('the-provider-key')
  expect(history).not.toContain(platform.apiKey)
})

test('cancel ends a run that hangs, keeps the session, and says so the second time', async () => {
  const run = platform.client.run({ prompt: 'hang please' })
  for await (const event of run) if (event.type === 'model.request') break
  await run.cancel()
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(RunError)
  expect(error).toMatchObject({ code: 'CANCELLED', outcome: 'cancelled' })
  await expect(
    platform.fetch(`/v1/runs/${run.id}/cancel`, { method: 'POST' }).then((response) => response.json()),
  ).resolves.toMatchObject({ code: 'RUN_ENDED' })
  expect((await run.session.run('remember after')).outcome).toBe('succeeded')
})

test('cancel ends a run at any moment of its start, also while its agent is being started', async () => {
  const { session } = await platform.client.run({ prompt: 'remember the start' })
  // Another system prompt needs another agent process.
  const begin = (index: number) => session.run({ prompt: 'hang on', systemPrompt: `You are number ${index}.` })
  const first = begin(0)
  for await (const event of first) if (event.type === 'model.request') break
  await first.cancel()
  const { promptSentMs } = (await first.get()).timings
  const moments = 24
  for (let index = 1; index <= moments; index++) {
    const run = begin(index)
    await wait((2 * (promptSentMs as number) * index) / moments)
    await run.cancel()
    expect((await run.result()).outcome).toBe('cancelled')
  }
})

test('a time limit ends the run as failed', async () => {
  const result = await platform.client.run({ prompt: 'hang again', limits: { timeoutMs: 3000 } }).result()
  expect(result).toMatchObject({ outcome: 'failed', reason: 'timed_out' })
})

test('a model that refuses the key fails the run with a code; one that is overloaded is tried again', async () => {
  await expect(platform.client.run({ prompt: 'model says 401' })).rejects.toMatchObject({
    code: 'MODEL_UNAUTHORIZED',
    outcome: 'failed',
  })
  const run = platform.client.run({ prompt: 'overloaded once' })
  expect((await run).text).toBe('it passed')
  expect((await collect(run.events())).some((event) => event.type === 'status' && event.state === 'retrying')).toBe(
    true,
  )
})

test('an agent that crashes is told as died, and the session goes on', async () => {
  const run = platform.client.run({ prompt: 'crash now', onLoss: 'fail' })
  await expect(run).rejects.toMatchObject({ code: 'AGENT_CRASHED', outcome: 'died', reason: 'agent_crashed' })
  expect((await run.session.run('remember after the crash')).outcome).toBe('succeeded')
})

test('SIGKILL of the platform: what ran goes on, what was saved is there', async () => {
  const first = await platform.client.run({ prompt: 'remember before' })
  const sleeping = first.session.run('sleep a while')
  for await (const event of sleeping) if (event.type === 'tool.started') break
  await platform.kill()
  await platform.up()
  const again = platform.client.runs.get(sleeping.id)
  expect((await again.get()).state).toBe('running')
  await again.cancel()
  expect((await again.result()).outcome).toBe('cancelled')
  const session = platform.client.sessions.get(first.session.id)
  expect(await session.files.readText('/workspace/order.txt')).toBe('one\n')
  expect((await session.run('remember again')).outcome).toBe('succeeded')
})

test('the command shows runs, streams events and tells its status', async () => {
  const ok = await platform.cli('run', '--json', 'remember the command')
  expect(ok.status).toBe(0)
  const events = ok.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Vm0Event)
  expect(events.at(-1)).toMatchObject({ type: 'run.finished', outcome: 'succeeded' })
  expect((await platform.cli('run', 'model says 401')).status).toBe(3)
  expect((await platform.cli('run', '-s', '00000000', 'x')).status).toBe(2)
  const logs = await platform.cli('logs', events[0]!.runId.slice(-8))
  expect(logs.stdout).toContain('▸ Bash')
  expect((await platform.cli('exec', '-s', events[0]!.sessionId, '--', 'cat', 'order.txt')).stdout).toBe('one\n')
})
