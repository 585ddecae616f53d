import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { EventOf, Vm0Event } from '@vm0/contract'
import {
  startFaultyEndpoint,
  startScriptedModel,
  type EndpointFault,
  type FaultyEndpoint,
  type ScriptedModel,
} from '@vm0/testkit'
import type { Run } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const script = {
  name: 'model-faults',
  conversations: [
    {
      when: 'work',
      steps: [
        { tools: [{ name: 'Bash', input: { command: 'echo done >> /workspace/log', description: 'x' } }] },
        { text: `all is well ${'again and '.repeat(200)}again` },
      ],
    },
  ],
}
/** Short for the tests: an agent alone goes on for three minutes, or for as long as its request hangs. */
const patienceSeconds = 6

let model: ScriptedModel
let endpoint: FaultyEndpoint
let platform: TestPlatform
beforeAll(async () => {
  model = await startScriptedModel([script])
  endpoint = await startFaultyEndpoint(model.url)
  platform = await TestPlatform.start([], {
    ANTHROPIC_BASE_URL: endpoint.url,
    VM0_MODEL_PATIENCE_SECONDS: String(patienceSeconds),
  })
})
afterAll(async () => {
  await platform?.stop()
  await endpoint?.close()
  await model?.close()
})
beforeEach(() => endpoint.heal())

/** How the run ended, as its last event tells it. */
async function endOf(run: Run): Promise<EventOf<'run.finished'>> {
  let last: Vm0Event | undefined
  for await (const event of run.events()) last = event
  if (last?.type !== 'run.finished') throw new Error(`the last event is ${last?.type}`)
  return last
}

const broken: [string, EndpointFault, string, RegExp][] = [
  ['401', { kind: 'status', status: 401 }, 'MODEL_UNAUTHORIZED', /refused the platform's key/],
  ['403', { kind: 'status', status: 403 }, 'MODEL_UNAUTHORIZED', /403/],
  ['429', { kind: 'status', status: 429 }, 'MODEL_RATE_LIMITED', /status 429/],
  [
    '429 with a pause of an hour',
    { kind: 'status', status: 429, headers: { 'retry-after': '3600' } },
    'MODEL_RATE_LIMITED',
    /429/,
  ],
  ['529', { kind: 'status', status: 529 }, 'MODEL_FAILED', /status 529/],
  ['garbage', { kind: 'garbage' }, 'MODEL_FAILED', /malformed/],
  ['an empty body', { kind: 'empty' }, 'MODEL_FAILED', /empty/],
  ['a page of HTML', { kind: 'html' }, 'MODEL_FAILED', /HTML/],
  ['a redirect', { kind: 'redirect' }, 'MODEL_FAILED', /redirects to http:\/\/203.0.113.1/],
  ['a header of a megabyte', { kind: 'huge-header' }, 'MODEL_FAILED', /could not be used: .*Header/],
  ['a connection that is reset', { kind: 'reset' }, 'MODEL_FAILED', /could not be used/],
  ['nothing', { kind: 'hang' }, 'MODEL_FAILED', /did not go on/],
  ['the first words and then nothing', { kind: 'hang-after', bytes: 1000 }, 'MODEL_FAILED', /did not go on/],
]

test.each(broken)(
  'an endpoint that answers with %s fails the run with a code; the session goes on',
  async (_name, fault, code, told) => {
    const session = await platform.client.sessions.create()
    expect((await session.run('work before')).outcome).toBe('succeeded')
    endpoint.fail(fault)
    const { outcome, error } = await endOf(session.run('work meanwhile'))
    expect([outcome, error?.code]).toEqual(['failed', code])
    expect(error?.message).toMatch(told)
    expect(error?.hint.length).toBeGreaterThan(20)
    endpoint.heal()
    expect((await session.run('work after')).text).toContain('all is well')
    expect(await session.files.readText('/workspace/log')).toBe('done\ndone\n')
    await session.delete()
  },
)

test.each<[string, EndpointFault]>([
  ['429', { kind: 'status', status: 429 }],
  ['529', { kind: 'status', status: 529 }],
  ['a dropped stream', { kind: 'drop-after', bytes: 1000 }],
  ['a reset', { kind: 'reset' }],
])('a run outlasts %s, twice', async (_name, fault) => {
  endpoint.fail(fault, 2)
  const run = platform.client.run({ prompt: 'work' })
  expect((await run).text).toContain('all is well')
  // Nothing was done twice: the answer that broke had asked for no tool yet, or the tool ran once.
  expect(await run.session.files.readText('/workspace/log')).toBe('done\n')
  await run.session.delete()
})

test('a run waits for an endpoint that is down and comes back; one that stays down fails it', async () => {
  const session = await platform.client.sessions.create()
  await endpoint.down()
  try {
    const { error } = await endOf(session.run('work'))
    expect(error).toMatchObject({ code: 'MODEL_FAILED', message: expect.stringContaining('ECONNREFUSED') })
    const waiting = session.run('work')
    let tries = 0
    for await (const event of waiting) {
      if (event.type === 'status' && event.state === 'retrying') tries += 1
      if (tries === 2) break
    }
    await endpoint.up()
    expect((await waiting).text).toContain('all is well')
  } finally {
    await endpoint.up().catch(() => undefined)
  }
  await session.delete()
})

test('the server and other sessions do not notice', async () => {
  endpoint.fail({ kind: 'hang' }, 1)
  const stuck = platform.client.run({ prompt: 'work' })
  for await (const event of stuck) if (event.type === 'model.request') break
  expect((await platform.client.run({ prompt: 'work' })).outcome).toBe('succeeded')
  expect((await fetch(`${platform.url}/readyz`)).status).toBe(200)
  expect((await endOf(stuck)).error?.code).toBe('MODEL_FAILED')
})
