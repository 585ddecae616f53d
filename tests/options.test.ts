import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Run, Vm0Event } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const bash = (command: string) => ({ name: 'Bash', input: { command, description: 'Work' } })
const output = (input: Record<string, unknown>) => ({ name: 'StructuredOutput', input })
/** An MCP server of one tool, in one line of Python. */
const server = String.raw`
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": [{"name": "weather", "description": "The weather", "inputSchema": {"type": "object"}}]},
         "tools/call": {"content": [{"type": "text", "text": "sunny at the " + sys.argv[1]}]}}.get(m["method"], {})
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
`
const script = {
  name: 'options',
  conversations: [
    {
      when: '^ask twice$',
      steps: [{ tools: [bash('touch "$PWD/one"')] }, { tools: [bash('touch "$PWD/two"')] }, { text: 'done' }],
    },
    { when: '^ask once$', steps: [{ tools: [bash('touch "$PWD/one"')] }, { text: 'done' }] },
    {
      when: '^a person$',
      steps: [
        { expect: { tools: ['StructuredOutput'] }, tools: [output({ name: 'Ada', age: 36 })] },
        { text: 'given' },
      ],
    },
    { when: '^nobody$', steps: [{ text: 'I had rather not' }] },
    {
      when: '^weather$',
      steps: [
        { expect: { tools: ['mcp__sky__weather'] }, tools: [{ name: 'mcp__sky__weather', input: {} }] },
        { expect: 'sunny at the sea', text: 'sunny' },
      ],
    },
  ],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script], {}, { args: ['--freeze', '1'] })
})
afterAll(async () => {
  expect(platform.model.failures.filter((failure) => !JSON.stringify(failure).includes('nobody'))).toEqual([])
  await platform.stop()
})

async function upTo(run: Run, type: Vm0Event['type']): Promise<Vm0Event> {
  for await (const event of run) if (event.type === type) return event
  throw new Error(`the run ended without ${type}`)
}

async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await wait(50)
}

test('a person is asked before anything is changed, waits cost no time limit and no CPU, and each answer counts', async () => {
  const { client } = platform
  const run = client.run({ prompt: 'ask twice', permissions: 'ask', limits: { timeoutMs: 60_000 } })
  const answers: string[] = []
  for await (const event of run) {
    if (event.type !== 'permission.requested') continue
    expect(event).toMatchObject({ name: 'Bash' })
    if (answers.length === 0) {
      await until(async () => (await run.get()).state === 'waiting')
      await until(async () => (await client.runners.list())[0]!.frozen >= 1)
      await run.answer(event.requestId, 'allow')
      await expect(run.answer(event.requestId, 'allow')).rejects.toMatchObject({ code: 'QUESTION_NOT_OPEN' })
    } else await run.answer(event.requestId, { decision: 'deny', message: 'not this one' })
    answers.push(event.requestId)
  }
  expect(answers).toHaveLength(2)
  const { outcome, session } = await run.result()
  expect(outcome).toBe('succeeded')
  expect((await session.exec('ls')).stdout).toBe('one\n')
  expect(JSON.stringify(platform.model.requests.at(-1))).toContain('not this one')
  const states: string[] = []
  for await (const event of run) if (event.type === 'run.state') states.push(event.state)
  expect(states).toEqual(['waiting', 'running', 'waiting', 'running'])
  await expect(run.answer(answers[0]!, 'allow')).rejects.toMatchObject({ code: 'RUN_ENDED' })
})

test('time in which nobody answers is not the run’s', async () => {
  const run = platform.client.run({ prompt: 'ask once', permissions: 'ask', limits: { timeoutMs: 15_000 } })
  const asked = await upTo(run, 'permission.requested')
  await wait(16_000)
  expect((await run.get()).state).toBe('waiting')
  await run.answer((asked as { requestId: string }).requestId, 'allow')
  expect((await run.result()).outcome).toBe('succeeded')
})

test('one that waits when the platform is killed waits still, and goes on with its answer', async () => {
  const run = platform.client.run({ prompt: 'ask twice', permissions: 'ask' })
  const first = await upTo(run, 'permission.requested')
  await run.answer((first as { requestId: string }).requestId, 'allow')
  const open = new Map<string, Vm0Event>()
  await until(async () => {
    for await (const event of run.history()) if (event.type === 'permission.requested') open.set(event.requestId, event)
    return open.size === 2
  })
  await platform.kill()
  await platform.up()
  const again = platform.client.runs.get(run.id)
  expect((await again.get()).state).toBe('waiting')
  await expect(again.answer((first as { requestId: string }).requestId, 'allow')).rejects.toMatchObject({
    code: 'QUESTION_NOT_OPEN',
  })
  await until(() =>
    again.answer([...open.keys()][1]!, 'allow').then(
      () => true,
      () => false,
    ),
  )
  const { outcome, session } = await again.result()
  expect(outcome).toBe('succeeded')
  expect((await session.exec('ls')).stdout).toBe('one\ntwo\n')
  const seen: Vm0Event[] = []
  for await (const event of again.history()) seen.push(event)
  expect(seen.filter(({ type }) => type === 'permission.requested')).toHaveLength(2)
  expect(seen.flatMap((event) => (event.type === 'run.state' ? [event.state] : []))).toEqual([
    'waiting',
    'running',
    'waiting',
    'running',
  ])
})

test('one that waits, frozen, can be cancelled', async () => {
  const run = platform.client.run({ prompt: 'ask once', permissions: 'ask' })
  await upTo(run, 'permission.requested')
  await until(async () => (await platform.client.runners.list())[0]!.frozen >= 1)
  await run.cancel()
  expect((await run.result()).outcome).toBe('cancelled')
  expect((await run.session.exec('ls')).stdout).toBe('')
})

test('the command shows what is asked, and answers', async () => {
  const { stdout } = await platform.cli('run', '--ask', '--detach', '--json', 'ask once')
  const { runId } = JSON.parse(stdout) as { runId: string }
  await upTo(platform.client.runs.get(runId), 'permission.requested')
  expect((await platform.cli('answer')).stdout).toBe('Bash touch "$PWD/one"\n')
  expect((await platform.cli('answer', 'allow')).stdout).toBe('Bash touch "$PWD/one": allow\n')
  expect((await platform.client.runs.get(runId).result()).outcome).toBe('succeeded')
  expect(await platform.cli('answer', 'allow')).toMatchObject({ status: 2 })
  expect((await platform.cli('answer', 'perhaps')).status).toBe(2)
})

const person = {
  type: 'object' as const,
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
  required: ['name'],
}

test('the output is an object of the form that was asked for', async () => {
  const result = await platform.client.run({ prompt: 'a person', output: person })
  expect(result.output).toEqual({ name: 'Ada', age: 36 })
  const { output: none } = await platform.client.run({ prompt: 'nobody' })
  expect(none).toBeNull()
})

test('an agent that gives none, or a schema that is none, is told', async () => {
  const { client } = platform
  const run = await client.run({ prompt: 'nobody', output: person }).result()
  expect(run).toMatchObject({ outcome: 'failed', reason: 'output_invalid', error: { code: 'OUTPUT_INVALID' } })
  const array = { type: 'array' } as unknown as typeof person
  await expect(client.run({ prompt: 'nobody', output: array })).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  const broken = { type: 'object' as const, properties: 7 }
  await expect(client.run({ prompt: 'nobody', output: broken })).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
})

test('MCP servers of the run are there, with their tools', async () => {
  const run = await platform.client.run({
    prompt: 'weather',
    mcpServers: { sky: { command: 'python3', args: ['-c', server, 'sea'] } },
  })
  expect(run.text).toBe('sunny')
})

test('a session that was prewarmed has sandbox and agent before its prompt; new, closed, and many times at once', async () => {
  const { client } = platform
  // A process has its program's name a moment after its start.
  const agents = `until pgrep -x claude >/dev/null; do sleep 0.05; done; pgrep -x claude | tr '\\n' ' '`
  const session = await client.sessions.create()
  for (const prompt of ['nobody', 'nobody']) {
    const asked = platform.model.requests.length
    await Promise.all([session.prewarm(), session.prewarm(), session.prewarm()])
    const { stdout: waiting } = await session.exec(agents)
    expect(waiting).toMatch(/^\d+ $/)
    expect(platform.model.requests.length).toBe(asked)
    const run = session.run(prompt)
    expect(await upTo(run, 'sandbox.ready')).toMatchObject({ how: 'session' })
    expect((await run).text).toBe('I had rather not')
    expect((await session.exec(agents)).stdout).toBe(waiting)
    await session.close()
  }
  expect(JSON.stringify(platform.model.requests.at(-1))).toContain('I had rather not')
})
