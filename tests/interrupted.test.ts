import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EventType } from '@vm0/contract'
import { startScriptedModel, type ScriptedModel } from '@vm0/testkit'
import { createClient, type Run, type Session, type Vm0 } from '../packages/vm0/src/index.js'
import { leftovers } from './support/leftovers.js'
import { Vm0Up } from './support/vm0-up.js'

const bash = (command: string) => ({ tools: [{ name: 'Bash', input: { command, description: 'x' } }] })
const script = {
  name: 'interrupted',
  conversations: [
    {
      when: '^work',
      steps: [bash('echo done >> /workspace/log; yes | head -c 30M > /workspace/big'), { text: 'worked' }],
    },
    { when: '^wait', steps: [bash('echo begun >> /workspace/log; sleep 1000'), { text: 'never' }] },
  ],
}

let model: ScriptedModel
let directory: string
let up: Vm0Up
let client: Vm0
beforeAll(async () => {
  model = await startScriptedModel([script])
  directory = await mkdtemp(join(tmpdir(), 'vm0-interrupted-'))
  await start()
})
afterAll(async () => {
  await Vm0Up.endAll()
  await model.close()
  await rm(directory, { recursive: true, force: true })
})

async function start(): Promise<void> {
  up = Vm0Up.start({ directory, env: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'the-provider-key' } })
  await up.ready
  client = createClient(
    JSON.parse(await readFile(join(directory, 'config.json'), 'utf8')) as { url: string; apiKey: string },
  )
}

test.each<[string, (session: Session) => Promise<unknown>]>([
  ...[50].map((ms): [string, () => Promise<unknown>] => [
    `${ms} ms into the start of a sandbox`,
    () =>
      client
        .run({ prompt: 'work' })
        .get()
        .then(() => wait(ms)),
  ]),
  ['while three sandboxes start', () => Promise.all([1, 2, 3].map(() => client.run({ prompt: 'work' }).get()))],
  ['in the middle of a tool call', (session) => reached(session.run('wait'), 'tool.started')],
  ['in the middle of a checkpoint', (session) => reached(session.run('work'), 'agent.finished')],
])(
  'SIGTERM %s ends the platform in order, leaves nothing on the host, and loses nothing that was saved',
  async (_name, until) => {
    const session = await client.sessions.create()
    expect((await session.run('work')).outcome).toBe('succeeded')
    await until(session)
    expect(await up.signal('SIGTERM')).toBe(0)
    expect(await leftovers(directory)).toEqual([])
    await start()
    const again = client.sessions.get(session.id)
    expect(await again.files.readText('/workspace/log')).toMatch(/^done\n(done\n|begun\n)?$/)
    expect((await again.run('work')).outcome).toBe('succeeded')
  },
  120_000,
)

async function reached(run: Run, type: EventType): Promise<void> {
  for await (const event of run) if (event.type === type) return
}
