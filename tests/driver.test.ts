import type { Vm0Event } from '@vm0/contract'
import type { MessagesRequest } from '@vm0/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Run, Session } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const usage = { input: 100, output: 20, cacheRead: 3000, cacheWrite: 400 }
/** What one request with this usage costs by the price list of the agent's default model. */
const requestUsd = 0.0034
const bash = (command: string, more: object = {}) => ({ name: 'Bash', input: { command, description: 'x', ...more } })
const waitForGo = bash('until test -e /workspace/go; do sleep 0.05; done; echo gone')

const conversations = {
  'say hello': [{ text: 'hello', usage }],
  'run (.*) for ever': [
    { text: 'I wait. ', tools: [bash('sleep 300')], usage },
    { text: 'never said', usage },
  ],
  'work slowly': [
    { tools: [waitForGo], usage },
    { expect: 'gone.*and sweep', text: 'Swept.', usage },
  ],
  // Slow enough at its end for a word to come in between.
  'be quick': [{ text: 'done', usage, chunkDelayMs: 30 }],
  'a late word (\\d+)': [{ text: 'heard', usage }],
  'go round': [{ tools: [bash('echo round')], usage }],
  'look around': [
    { tools: [bash('echo $VM0_TEST_WORD of process $PPID')], usage },
    { text: 'looked', usage },
  ],
  'use git only': [
    { tools: [bash('git --version')], usage },
    { tools: [bash('touch /workspace/x')], usage },
    { text: 'only git', usage },
  ],
  'work in the background': [
    {
      tools: [
        bash('echo in the background', { run_in_background: true }),
        {
          name: 'Agent',
          input: {
            description: 'd',
            prompt: 'be somewhere else',
            subagent_type: 'general-purpose',
            run_in_background: true,
          },
        },
        { name: 'Monitor', input: { command: 'echo again', description: 'd', timeout_ms: 1000, persistent: false } },
        { name: 'ScheduleWakeup', input: { delaySeconds: 60, reason: 'r', prompt: 'wake up' } },
      ],
      usage,
    },
    { text: 'all is done', usage, delayMs: 1000 },
  ],
  'be somewhere else': [
    { tools: [bash('sleep 0.5; echo elsewhere')], usage },
    { text: 'I was elsewhere', usage, delayMs: 1000 },
  ],
  'expect the wrong thing': [
    { tools: [bash('echo an apple')], usage },
    { expect: 'a pear', text: 'x', usage },
  ],
  'die in the middle': [{ tools: [bash('sleep 2; kill -9 $PPID')], usage }],
  'die at once': [{ tools: [bash('kill -9 $PPID')], usage }],
}

let platform: TestPlatform
beforeAll(async () => {
  const list = Object.entries(conversations).map(([when, steps]) => ({ when, steps }))
  platform = await TestPlatform.start([{ name: 'driver', conversations: list }])
})
afterAll(async () => {
  await platform?.stop()
})

async function collect(run: Run): Promise<Vm0Event[]> {
  const events: Vm0Event[] = []
  for await (const event of run) events.push(event)
  return events
}

function ofType<T extends Vm0Event['type']>(events: Vm0Event[], type: T): Extract<Vm0Event, { type: T }>[] {
  return events.filter((event): event is Extract<Vm0Event, { type: T }> => event.type === type)
}

async function until(run: Run, wanted: (event: Vm0Event) => boolean): Promise<void> {
  for await (const event of run) if (wanted(event)) return
}

/** The last request of the main conversation that holds these words. */
function requestWith(words: string): MessagesRequest {
  const found = platform.model.requests.findLast(({ messages }) => JSON.stringify(messages).includes(words))
  if (!found) throw new Error(`no request holds ${words}`)
  return found
}

const toolsOf = (request: MessagesRequest): string[] => (request.tools ?? []).map(({ name }) => name)
const systemOf = (request: MessagesRequest): string => JSON.stringify(request.system)

test('a run that is cancelled in the middle of a tool call leaves a conversation that goes on, here and in a new process', async () => {
  const run = platform.client.run({ prompt: 'run the mill for ever' })
  await until(run, ({ type }) => type === 'tool.started')
  await run.cancel()
  const result = await run.result()
  expect(result).toMatchObject({ outcome: 'cancelled', costUsd: requestUsd })
  const events = await collect(run)
  expect(ofType(events, 'tool.finished')[0]).toMatchObject({ name: 'Bash', ok: false })
  expect(ofType(events, 'agent.finished')[0]).toMatchObject({ reason: 'interrupted' })

  expect((await run.session.run('say hello after the mill')).text).toBe('hello')
  await run.session.close()
  const resumed = run.session.run('say hello once more')
  expect((await resumed).text).toBe('hello')
  expect(ofType(await collect(resumed), 'sandbox.ready')[0]).toMatchObject({ how: 'cold' })
  const conversation = JSON.stringify(requestWith('say hello once more').messages)
  expect(conversation).toContain('run the mill for ever')
  expect(conversation).toContain('sleep 300')
  expect(conversation).toContain('say hello after the mill')
})

test('text that is sent while a tool runs reaches the model with its result', async () => {
  const run = platform.client.run({ prompt: 'work slowly' })
  await until(run, ({ type }) => type === 'tool.started')
  await run.send('and sweep the floor')
  await run.session.files.write('/workspace/go', '')
  expect((await run).text).toBe('Swept.')
  expect(ofType(await collect(run), 'input.sent')).toMatchObject([{ text: 'and sweep the floor' }])
  expect(JSON.stringify(requestWith('work slowly').messages)).toContain('and sweep the floor')
})

test('text that comes at the end of a run opens another turn or is refused, and is never lost', async () => {
  const session = await platform.client.sessions.create()
  let taken = 0
  for (let round = 1; round <= 12; round += 1) {
    const run = session.run('be quick')
    // Ever later: at the last words, and after more and more of what follows them.
    const events = run[Symbol.asyncIterator]()
    let after = -1
    for (let next = await events.next(); !next.done; next = await events.next()) {
      if (after < 0 && next.value.type === 'message') after = 0
      else if (after >= 0) after += 1
      if (after === Math.floor(round / 2) || next.value.type === 'agent.finished') break
    }
    const refused = await run.send(`a late word ${round}`).then(
      () => undefined,
      (error: { code: string }) => error.code,
    )
    const result = await run
    const heard = platform.model.requests.some(({ messages }) =>
      JSON.stringify(messages).includes(`a late word ${round}"`),
    )
    expect([refused, result.text, heard]).toEqual(refused ? ['RUN_ENDED', 'done', false] : [undefined, 'heard', true])
    if (!refused) {
      taken += 1
      expect(result.costUsd).toBeCloseTo(2 * requestUsd, 9)
    }
  }
  expect(taken).toBeGreaterThan(0)
  const ended = session.run('be quick')
  await ended
  await expect(ended.send('too late')).rejects.toMatchObject({ code: 'RUN_ENDED' })
})

test('a conversation that is not there any more is begun anew, and that is told', async () => {
  const first = platform.client.run({ prompt: 'say hello before the fire' })
  await first
  // The same is left by an agent that was killed before it wrote down a conversation that it had told of.
  await first.session.exec('rm -r /root/.claude/projects')
  await first.session.close()
  const run = first.session.run('say hello after the fire')
  expect((await run).text).toBe('hello')
  const events = await collect(run)
  expect(ofType(events, 'notice')).toMatchObject([{ level: 'warning', text: expect.stringContaining('begins') }])
  expect(ofType(events, 'agent.finished')).toHaveLength(1)
  expect(JSON.stringify(requestWith('after the fire').messages)).not.toContain('before the fire')
  expect((await first.session.run('say hello again')).text).toBe('hello')
})

test('a limit of turns ends the run as failed, and the session goes on', async () => {
  const run = platform.client.run({ prompt: 'go round', limits: { turns: 2 } })
  await expect(run).rejects.toMatchObject({ code: 'AGENT_FAILED', outcome: 'failed', reason: 'max_turns' })
  expect(ofType(await collect(run), 'tool.started')).toHaveLength(2)
  expect((await run.session.run('say hello')).text).toBe('hello')
})

test('a system prompt replaces or is added, for the runs that ask for it', async () => {
  const session = await platform.client.sessions.create()
  await session.run({ prompt: 'say hello to the first', systemPrompt: 'You are the first.' })
  expect(systemOf(requestWith('to the first'))).toContain('"You are the first."')
  await session.run({ prompt: 'say hello to the second', systemPrompt: { append: 'You are the second.' } })
  const second = systemOf(requestWith('to the second'))
  expect(second).toMatch(/You are an agent .*You are the second\./s)
  expect(second).not.toContain('You are the first.')
  await session.run('say hello to nobody')
  expect(systemOf(requestWith('to nobody'))).not.toMatch(/the first|the second/)
})

test('tools.allow leaves only these, tools.deny none of those, and a pattern only what it matches', async () => {
  const session = await platform.client.sessions.create()
  await session.run({ prompt: 'say hello with two', tools: { allow: ['Read', 'Bash'] } })
  expect(toolsOf(requestWith('with two'))).toEqual(expect.arrayContaining(['Bash', 'Read']))
  expect(toolsOf(requestWith('with two')).filter((name) => name !== 'DeferredToolPlaceholder')).toHaveLength(2)
  await session.run({ prompt: 'say hello with none', tools: { allow: [] } })
  expect(toolsOf(requestWith('with none'))).toEqual([])
  await session.run({ prompt: 'say hello without', tools: { deny: ['Bash', 'Agent'] } })
  expect(toolsOf(requestWith('without'))).toContain('Read')
  expect(toolsOf(requestWith('without')).filter((name) => name === 'Bash' || name === 'Agent')).toEqual([])
  const run = session.run({ prompt: 'use git only', tools: { allow: ['Bash(git *)', 'Agent'] } })
  expect((await run).text).toBe('only git')
  const events = await collect(run)
  expect(ofType(events, 'tool.finished').map(({ ok }) => ok)).toEqual([true, false])
  expect(ofType(events, 'permission.resolved')).toMatchObject([{ name: 'Bash', decision: 'deny', by: 'agent' }])
  expect(toolsOf(requestWith('use git only'))).toContain('Agent')
})

async function lookAround(
  session: Session,
  options: object = {},
): Promise<{ seen: string; costUsd: number; how: string }> {
  const run = session.run({ prompt: 'look around', ...options })
  const { costUsd } = await run
  const events = await collect(run)
  const [ready] = ofType(events, 'sandbox.ready')
  return { seen: ofType(events, 'tool.finished')[0]?.output ?? '', costUsd, how: ready?.how ?? '' }
}

test('prompts of one session go to one process, another environment or model to another one, and each pays for itself', async () => {
  const session = await platform.client.sessions.create()
  const env = { VM0_TEST_WORD: 'swordfish' }
  const first = await lookAround(session, { env })
  expect(first.seen).toMatch(/^swordfish of process \d+$/)
  const second = await lookAround(session, { env })
  expect(second).toMatchObject({ seen: first.seen, how: 'session' })
  const third = await lookAround(session)
  expect(third.seen).toMatch(/^of process \d+$/)
  expect([first, second, third].map(({ costUsd }) => costUsd)).toEqual(Array(3).fill(2 * requestUsd))

  const other = session.run({ prompt: 'say hello, other model', model: 'claude-haiku-4-5' })
  expect((await other).costUsd).toBeCloseTo(0.001, 9)
  expect(requestWith('other model').model).toBe('claude-haiku-4-5')
  expect(JSON.stringify(requestWith('other model').messages)).toContain('look around')
  await session.close()
  const resumed = await session.run({ prompt: 'say hello, first model', model: 'claude-opus-5-5' })
  expect(resumed.costUsd).toBe(requestUsd)
  expect(requestWith('first model').model).toBe('claude-opus-5-5')
})

test('nothing goes on after the run: what would work in the background works in the foreground, or is not there', async () => {
  const run = platform.client.run({ prompt: 'work in the background' })
  const result = await run
  const events = await collect(run)
  expect(result.text).toBe('all is done')
  const [started] = ofType(events, 'subagent.started')
  const [finished] = ofType(events, 'subagent.finished')
  expect(started).toMatchObject({ background: false, prompt: 'be somewhere else' })
  expect(finished).toMatchObject({ subagentId: started?.subagentId, status: 'completed', result: 'I was elsewhere' })
  const ends = Object.fromEntries(ofType(events, 'tool.finished').map((event) => [event.toolId, event]))
  const calls = ofType(events, 'tool.started').map(({ toolId, name, parentToolId }) => [
    name,
    ends[toolId]?.ok,
    parentToolId === started?.toolId,
  ])
  expect(calls).toEqual([
    ['Bash', false, false],
    ['Agent', true, false],
    ['Monitor', false, false],
    ['ScheduleWakeup', false, false],
    ['Bash', true, true],
  ])
  // The sub-agent's two requests are the run's, by request and in sum.
  const steps = ofType(events, 'usage').filter(({ scope }) => scope === 'step')
  expect(steps.filter(({ parentToolId }) => parentToolId === started?.toolId)).toHaveLength(2)
  expect(steps.reduce((sum, { costUsd = 0 }) => sum + costUsd, 0)).toBeCloseTo(result.costUsd, 9)
  expect(result).toMatchObject({ costUsd: 4 * requestUsd, usage: { inputTokens: 400, outputTokens: 80 } })
})

test('an expectation of the script that fails is in the error of the run', async () => {
  const error = await platform.client.run({ prompt: 'expect the wrong thing' }).then(
    () => undefined,
    (thrown: unknown) => thrown as Error,
  )
  expect(error?.message).toContain('expected the tool result to match /a pear/; it was: an apple')
  // The agent asks again in other forms; nothing else in this file may fail.
  expect(platform.model.failures.length).toBeGreaterThan(0)
  for (const failure of platform.model.failures) expect(failure).toContain('/a pear/')
})

test('a run whose agent dies is billed for the requests that it made', async () => {
  const result = await platform.client.run({ prompt: 'die in the middle', onLoss: 'fail' }).result()
  expect(result).toMatchObject({ outcome: 'died', usage: { inputTokens: 100, outputTokens: 20 }, costUsd: requestUsd })
  // One that dies before it could tell the price: its tokens are known all the same.
  const atOnce = await platform.client.run({ prompt: 'die at once', onLoss: 'fail' }).result()
  expect(atOnce).toMatchObject({ outcome: 'died', usage: { inputTokens: 100, outputTokens: 20 } })
})
