import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Run, WebhookEvent, Why } from '../packages/vm0/src/index.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.js'

const bash = (line: string) => ({ tools: [{ name: 'Bash', input: { command: line, description: 'x' } }] })
/** Workers that are each smaller than the agent, and too many: the kernel takes the agent. */
const eater = `for worker in $(seq 14); do python3 -c '
import time
kept = bytearray(b"x" * (80 << 20))
time.sleep(60)' & done; wait`
const script = {
  name: 'why',
  conversations: [
    { when: '^eat memory', steps: [{ text: 'I try. ', ...bash(eater) }, { text: 'never' }] },
    { when: '^take long', steps: [bash('echo begun; sleep 300'), { text: 'never' }] },
    { when: '^model refuses', steps: [{ fault: { kind: 'status' as const, status: 401 } }] },
    { when: '^model fails', steps: [{ fault: { kind: 'status' as const, status: 400, message: 'not to our taste' } }] },
    { when: '^model hangs', steps: [{ fault: { kind: 'hang' as const } }] },
    {
      when: '^fill the disk',
      steps: [bash('cd /workspace; yes | head -c 2G > big; echo status $?'), { text: 'filled' }],
    },
    { when: '^crash', steps: [bash('kill -9 $PPID; sleep 60'), { text: 'never' }] },
    { when: '^go round', steps: [...Array.from({ length: 4 }, () => bash('make nothing')), { text: 'gave up' }] },
    { when: '^turn', steps: [bash('echo one'), bash('echo two'), bash('echo three'), { text: 'never' }] },
    { when: '^work', steps: [bash('echo done > a.txt'), { text: 'worked' }] },
  ],
}

let platform: TestPlatform
let receiver: WebhookReceiver
/** Ids of webhooks by the path that they lead to. */
const hooks = new Map<string, string>()
beforeAll(async () => {
  platform = await TestPlatform.start([script], { VM0_MODEL_PATIENCE_SECONDS: '10', VM0_WEBHOOK_TARGETS: 'any' })
  receiver = await startWebhookReceiver()
  // One is down when the first message comes, one never answers, one wants to know of all runs.
  receiver.behaviour.set('/deaths', [500]).set('/hangs', 'hang')
  for (const path of ['/deaths', '/hangs', '/all']) await addHook(path, path === '/all' ? ['run.ended'] : ['run.died'])
})
afterAll(async () => {
  await platform?.stop()
  await receiver?.close()
})

async function addHook(path: string, events: WebhookEvent[]): Promise<void> {
  const { id, secret = '' } = await platform.client.webhooks.create(`${receiver.url}${path}`, { events })
  hooks.set(path, id)
  receiver.secrets.set(path, secret)
}
const deliveriesTo = async (path: string) => (await platform.client.webhooks.deliveries(hooks.get(path)!)).items

async function whyOf(run: Run): Promise<Why> {
  await run.result()
  return run.why()
}
/** What the command shows first. */
async function firstLines(run: Run): Promise<string[]> {
  const { stdout } = await command(platform, ['why', run.id.slice(-8)], { env: { NO_COLOR: '1' } })
  return stdout.split('\n').slice(0, 5)
}

test('memory that a tool call ate: the cause, the call with its command, and more memory as the next step', async () => {
  const run = platform.client.run({ prompt: 'eat memory', resources: { memoryMiB: 768 }, onOutOfMemory: 'stop' })
  const why = await whyOf(run)
  expect([why.state, why.reason, why.certainty]).toEqual(['died', 'out_of_memory', 'known'])
  // All of the command's processes, of which none is larger than the agent.
  expect(why.report!.blamed).toMatchObject({ isAgent: false })
  expect(why.report!.blamed!.processes).toBeGreaterThan(4)
  expect(why.culprit).toMatchObject({ command: eater, toolId: expect.stringMatching(/^toolu_/) })
  const lines = await firstLines(run)
  expect(lines[0]).toMatch(/^✗ died \(out_of_memory\) {3}after [\d.]+ m?s /)
  expect(lines[1]).toMatch(/^ {2}cause {5}the sandbox ran out of memory of 768 MiB: `python3 -c .* had \d+ MiB$/)
  expect(lines.find((line) => line.startsWith('  culprit'))).toContain('`for worker in $(seq 14); do python3')
  expect(lines.find((line) => line.startsWith('  next'))).toMatch(/ vm0 run -s [0-9a-f]{8} --memory 1536 "…"$/)
  const open = (await run.trace()).spans.filter(({ status }) => status === 'open')
  expect(open.map(({ kind }) => kind)).toEqual(['turn', 'tool'])
})

test('a death is told to who asked for it: signed, with the cause, the culprit and the next step; a receiver that is down gets it later', async () => {
  const [death] = (await platform.client.runs.list({ state: 'died' })).items
  const why = await platform.client.runs.get(death!.id).why()
  // The first attempt was answered 500.
  const [first, second] = await receiver.until('/deaths', 2)
  expect(second!.id).toBe(first!.id)
  expect(second!.message).toEqual(first!.message)
  expect(first!.message).toMatchObject({
    type: 'run.died',
    timestamp: death!.endedAt,
    data: {
      project: 'default',
      run: { id: death!.id, state: 'died', reason: 'out_of_memory', error: { code: 'OUT_OF_MEMORY' } },
      why: { cause: why.cause, certainty: 'known', culprit: why.culprit, next: why.next },
    },
  })
  expect(JSON.stringify(first!.message)).not.toContain('eat memory')
  const [told] = await receiver.until('/all', 1)
  expect(told!.message).toMatchObject({ type: 'run.ended', data: { run: { id: death!.id } } })
  // One that never answers holds up neither runs nor the others.
  const [hung] = await receiver.until('/hangs', 1)
  expect(hung!.message.type).toBe('run.died')
  const [toHung] = await deliveriesTo('/hangs')
  expect(toHung).toMatchObject({ event: 'run.died', runId: death!.id, state: 'pending', status: null })
  expect(receiver.problems).toEqual([])
})

test('everything that was told of a run is one timeline: agent, sandbox, gateway, runner and server, by time, inert', async () => {
  const [death] = (await platform.client.runs.list({ state: 'died' })).items
  const run = platform.client.runs.get(death!.id)
  const entries = objects(await command(platform, ['logs', death!.id.slice(-8), '--all', '--json']))
  expect(new Set(entries.map(({ source }) => source))).toEqual(
    new Set(['agent', 'sandbox', 'gateway', 'runner', 'server']),
  )
  for (const { runId, sessionId, traceId } of entries)
    expect([runId, sessionId, traceId]).toEqual([death!.id, death!.sessionId, (await run.trace()).traceId])
  // The events are those that everybody gets, in their own order; the lines have no number among them.
  const events: unknown[] = []
  for await (const event of run.history()) events.push(event)
  expect(entries.flatMap(({ event }) => (event ? [event] : []))).toEqual(events)
  const texts = entries.map(({ source, text }) => `${source}: ${text}`)
  expect(texts.findIndex((text) => text.includes('runner: the run was taken'))).toBeLessThan(
    texts.findIndex((text) => text.startsWith('agent: ')),
  )
  expect(texts.find((text) => text.startsWith('sandbox: out of memory'))).toContain('and the run was ended for it')
  const written = entries.find(({ text }) => text === 'the end of the run is written')
  expect(written).toMatchObject({
    source: 'runner',
    level: 'info',
    details: { outcome: 'died', reason: 'out_of_memory' },
  })
  // From any entry on it goes on without a gap, and following one that has ended ends.
  const middle = Math.floor(entries.length / 2)
  const rest: unknown[] = []
  for await (const entry of run.logs({ after: entries[middle]!.cursor as string, follow: true })) rest.push(entry)
  expect(rest).toEqual(entries.slice(middle + 1))
  const { stdout } = await command(platform, ['logs', death!.id.slice(-8), '--all'], { env: { NO_COLOR: '1' } })
  expect(stdout.split('\n')[0]).toBe(
    `run ${death!.id}   session ${death!.sessionId}   trace ${(await run.trace()).traceId}`,
  )
  expect(stdout).toMatch(/^[\d:.]{12} runner {2}✗ the run has died \(out_of_memory\)/m)
  const { key } = await platform.project('looks-on')
  expect((await platform.fetch(`/v1/runs/${death!.id}/logs`, { key })).status).toBe(404)
  expect((await platform.fetch(`/v1/runs/${death!.id}/logs?after=x`)).status).toBe(400)
})

test('a time limit: the command that took the time', async () => {
  const run = platform.client.run({ prompt: 'take long', limits: { timeoutMs: 8000 } })
  // Whoever follows sees it while it is at work, and its end.
  const told: string[] = []
  for await (const { source, text } of run.logs({ follow: true })) told.push(`${source}: ${text}`)
  expect(told.filter((text) => /^runner: the (run has|end of the run)/.test(text))).toHaveLength(2)
  const why = await whyOf(run)
  expect([why.state, why.reason]).toEqual(['failed', 'timed_out'])
  expect(why.culprit).toMatchObject({ command: 'echo begun; sleep 300' })
  expect(why.culprit!.runningMs).toBeGreaterThan(1000)
  expect((await firstLines(run)).join('\n')).toMatch(/cause .*8000 ms\n.*culprit .*sleep 300.*\n.*next .*--timeout/)
})

test('a model that refuses, fails or hangs', async () => {
  const refused = await whyOf(platform.client.run({ prompt: 'model refuses' }))
  expect(refused).toMatchObject({
    reason: 'model_unauthorized',
    cause: "the model endpoint refused the platform's key",
  })
  expect(refused.evidence).toContainEqual({
    text: 'the model endpoint answered with status 401',
    cursor: expect.any(String),
  })
  const failed = await whyOf(platform.client.run({ prompt: 'model fails' }))
  expect(failed).toMatchObject({ reason: 'model_failed', cause: expect.stringContaining('not to our taste') })
  const run = platform.client.run({ prompt: 'model hangs' })
  const hung = await whyOf(run)
  expect(hung).toMatchObject({ reason: 'model_failed', cause: expect.stringContaining('gave nothing of use for 10 s') })
  expect((await firstLines(run)).join('\n')).toContain('a request to the model had been')
})

test('a disk that a command filled is found, however the run ended', async () => {
  const session = await platform.client.sessions.create({ resources: { diskMiB: 256 } })
  const why = await whyOf(session.run('fill the disk'))
  expect(why.findings.map(({ kind }) => kind)).toContain('disk.full')
  if (why.state !== 'succeeded') expect(why.cause).toBe("the sandbox's disk of 256 MiB was full")
  await session.delete()
})

test('an agent that its own command killed', async () => {
  const why = await whyOf(platform.client.run({ prompt: 'crash', onLoss: 'fail' }))
  expect(why).toMatchObject({ reason: 'agent_crashed', culprit: { command: 'kill -9 $PPID; sleep 60' } })
  expect(why.cause).toMatch(/by signal 9 \(SIGKILL\)$/)
  expect(why.next.join('\n')).toContain('kill, pkill')
  const resumed = await whyOf(platform.client.run({ prompt: 'crash' }))
  expect(resumed.evidence.map(({ text }) => text).join('\n')).toContain(
    'while Bash `kill -9 $PPID; sleep 60` was at work',
  )
  expect(resumed.findings.map(({ kind }) => kind)).toContain('run.lost')
})

test('a run that somebody cancelled did not fail; one that used up its turns can go on', async () => {
  const run = platform.client.run({ prompt: 'take long' })
  for await (const event of run) if (event.type === 'tool.started') break
  expect((await run.why()).cause).toMatch(/^it has not ended: it is running/)
  await wait(500)
  await run.cancel()
  expect(await whyOf(run)).toMatchObject({
    cause: 'somebody cancelled it; it did not fail',
    culprit: { command: 'echo begun; sleep 300' },
  })
  const turns = await whyOf(platform.client.run({ prompt: 'turn', limits: { turns: 2 } }))
  expect(turns).toMatchObject({ reason: 'max_turns', cause: expect.stringContaining('used up its turns') })
})

test('of a run that went well: its story with what was asked, no culprit, nothing to change', async () => {
  const run = platform.client.run({ prompt: 'work on it' })
  const why = await whyOf(run)
  expect(why).toMatchObject({ state: 'succeeded', culprit: null, next: [], findings: [] })
  expect(why.story.line).toMatch(/^Asked “work on it”: succeeded after .*; ran 1 command\.$/)
  const [head, line] = await firstLines(run)
  expect(head).toMatch(/^✓ succeeded /)
  expect(line).toBe(why.story.line)
})

test('what went badly is told with the text that would mend it, also on the terminal', async () => {
  const run = platform.client.run({ prompt: 'go round' })
  const why = await whyOf(run)
  const kinds = why.findings.map(({ kind }) => kind)
  // The template may have make or not.
  expect(kinds).toContain('cmd.repeat_fail')
  const shown = await command(platform, ['why', run.id.slice(-8)], { env: { NO_COLOR: '1' } })
  expect(shown.stdout).toContain('`make nothing` failed 4 times with no file changed between')
  expect(shown.stdout).toContain('CLAUDE.md: - `make nothing` failed')
  expect(objects(await command(platform, ['why', run.id.slice(-8), '--json']))[0]).toEqual(why)
  const patient = ['why', run.id.slice(-8), '--json', '--threshold', 'failingRepeats=5']
  expect(objects(await command(platform, patient))[0]).toEqual(await run.why({ thresholds: { failingRepeats: 5 } }))
  expect((await run.why({ thresholds: { failingRepeats: 5 } })).findings.map(({ kind }) => kind)).not.toContain(
    'cmd.repeat_fail',
  )
  const wrong = await command(platform, ['why', '--threshold', 'nope=5'])
  expect([wrong.status, wrong.stderr.split(':')[0]]).toEqual([2, 'error INVALID_REQUEST'])
  expect((await command(platform, ['why', '--threshold', 'nope'])).status).toBe(2)
})

test('what became of each message is shown; a message can be sent to try; a webhook that is removed is told nothing more', async () => {
  const [died] = (await deliveriesTo('/deaths')).slice(-1)
  expect(died).toMatchObject({ state: 'delivered', attempts: 2, status: 204, error: null, nextAttemptAt: null })
  const runs = (await platform.client.runs.list({ limit: 200 })).items.filter(({ endedAt }) => endedAt !== null)
  await receiver.until('/all', runs.length)
  const toAll = receiver.received.filter(({ path }) => path === '/all').map(({ message }) => message)
  const ended = toAll.flatMap((message) => (message.type === 'webhook.test' ? [] : [message.data.run]))
  expect(ended.map(({ id, state }) => [id, state]).toSorted()).toEqual(
    runs.map(({ id, state }) => [id, state]).toSorted(),
  )
  for (const message of toAll)
    if (message.type !== 'webhook.test') expect(message.data.why === null).toBe(message.data.run.state === 'succeeded')
  const all = hooks.get('/all')!
  const tried = await command(platform, ['webhooks', 'test', all])
  expect([tried.status, tried.stdout]).toEqual([0, '✓ taken, answered 204\n'])
  const listed = await command(platform, ['webhooks', 'deliveries', all, '--limit', '1', '--json'])
  expect(objects(listed)[0]).toMatchObject({ event: 'webhook.test', runId: null, state: 'delivered', attempts: 1 })
  for (const [behaviour, answer] of [
    ['redirect', 'answered 307, and redirects are not followed; expected 2xx'],
    [503, 'answered 503; expected 2xx'],
  ] as const) {
    receiver.behaviour.set('/all', behaviour)
    const failed = await command(platform, ['webhooks', 'test', all])
    expect([failed.status, failed.stdout]).toEqual([3, `✗ not taken: ${answer}\n`])
  }
  receiver.behaviour.set('/all', 'flood')
  expect((await platform.client.webhooks.test(all)).state).toBe('delivered')
  expect(receiver.received.some(({ path }) => path === '/elsewhere')).toBe(false)
  expect((await command(platform, ['webhooks'])).stdout).toMatch(new RegExp(`^${all} +run.ended +0 +2 +http://`, 'm'))
  const refusals: [object, string][] = [
    [{ url: 'ftp://hooks.example/' }, 'INVALID_REQUEST'],
    [{ url: 'https://user:secret@hooks.example/' }, 'INVALID_REQUEST'],
    [{ url: 'https://hooks.example/', events: ['run.begun'] }, 'INVALID_REQUEST'],
    [{ url: 'https://hooks.example/', events: [] }, 'INVALID_REQUEST'],
    [{ url: 'https://hooks.example/', secret: 'short' }, 'INVALID_REQUEST'],
    [{ url: 'https://169.254.169.254/' }, 'WEBHOOK_TARGET_REFUSED'],
  ]
  for (const [body, code] of refusals) {
    const answer = await platform.fetch('/v1/webhooks', { method: 'POST', body: JSON.stringify(body) })
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([400, code])
  }
  const { key } = await platform.client.keys.create('looks')
  expect((await platform.fetch('/v1/webhooks', { key: key! })).status).toBe(403)
  await platform.client.webhooks.remove(all)
  await expect(platform.client.webhooks.deliveries(all)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect((await platform.client.webhooks.list()).map(({ id }) => id)).not.toContain(all)
  expect(receiver.problems).toEqual([])
})
