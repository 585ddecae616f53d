import { randomUUID } from 'node:crypto'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres, type PostgresServer } from '@vm0/testkit'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

let postgres: PostgresServer
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres?.stop())

describe.each<[string, () => Promise<Record<string, string>>]>([
  ['PGlite', async () => ({})],
  ['PostgreSQL', async () => ({ DATABASE_URL: await postgres.createDatabase() })],
])('on %s', (name, environment) => {
  let platform: TestPlatform
  let env: Record<string, string>
  beforeAll(async () => {
    env = await environment()
    platform = await TestPlatform.start([workScript], env)
  })
  afterAll(() => platform?.stop())

  const post = (path: string, body: object) =>
    platform.fetch(path, { method: 'POST', body: JSON.stringify(body) }).then(async (response) => ({
      status: response.status,
      body: (await response.json()) as Record<string, any>,
    }))

  test('a session is worked in, closed, and goes on in a new sandbox, over a restart of the platform', async () => {
    const { session } = await platform.client.run({ prompt: 'append a line' })
    await session.close()
    await platform.signal('SIGTERM')
    await platform.up()
    const again = platform.client.sessions.get(session.id)
    expect((await again.run('append a line')).outcome).toBe('succeeded')
    expect(await again.files.readText('/workspace/lines.txt')).toBe('line\nline\n')
  })

  test('a run brings a workspace into the session that it makes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vm0-workspace-'))
    try {
      await writeFile(join(folder, 'brought.txt'), 'brought')
      const run = platform.client.run({ prompt: 'answer me', workspace: folder })
      expect((await run).outcome).toBe('succeeded')
      expect(await run.session.files.readText('/workspace/brought.txt')).toBe('brought')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('a run sent twenty times at once is one run in one session', async () => {
    const before = await platform.client.sessions.list({ limit: 200 })
    const body = { id: randomUUID(), prompt: 'append a line' }
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('/v1/runs', body)))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
    expect(new Set(answers.map((answer) => `${answer.body.id} ${answer.body.sessionId}`)).size).toBe(1)
    const after = await platform.client.sessions.list({ limit: 200 })
    expect(after.items.length).toBe(before.items.length + 1)
    const run = platform.client.runs.get(body.id)
    expect(await run.result()).toMatchObject({ outcome: 'succeeded' })
    const types: string[] = []
    for await (const event of run.events()) types.push(event.type)
    expect(types.filter((type) => type === 'run.queued' || type === 'run.finished')).toEqual([
      'run.queued',
      'run.finished',
    ])
    expect(await platform.client.sessions.get(answers[0]!.body.sessionId).files.readText('/workspace/lines.txt')).toBe(
      'line\n',
    )
  })

  test('whatever bodies race for an id, one is taken, its equals get the same, and all others are a conflict', async () => {
    const busy = await platform.client.sessions.create()
    const atWork = busy.run('hang')
    for await (const event of atWork) if (event.type === 'model.request') break
    const sent = fc.array(fc.record({ id: fc.nat({ max: 1 }), body: fc.nat({ max: 2 }) }), {
      minLength: 2,
      maxLength: 8,
    })
    await fc.assert(
      fc.asyncProperty(sent, fc.constantFrom('/v1/sessions', '/v1/runs'), async (requests, path) => {
        const ids = [randomUUID(), randomUUID()]
        const answers = await Promise.all(
          requests.map(async ({ id, body }) => {
            const labels = { body: String(body) }
            const extra = path === '/v1/runs' ? { prompt: 'hang', sessionId: busy.id } : {}
            return { id, sent: String(body), ...(await post(path, { id: ids[id], labels, ...extra })) }
          }),
        )
        for (const id of new Set(requests.map((request) => request.id))) {
          const mine = answers.filter((answer) => answer.id === id)
          const taken = mine.filter(({ status }) => status === 201)
          const [winner] = new Set(taken.map(({ body }) => body.labels.body as string))
          expect(winner).toBeDefined()
          for (const { sent: body, status, body: answer } of mine)
            expect([status, answer.code]).toEqual(body === winner ? [201, undefined] : [409, 'CONFLICT'])
        }
        if (path === '/v1/runs')
          await Promise.all(ids.map((id) => platform.fetch(`/v1/runs/${id}/cancel`, { method: 'POST' })))
      }),
      { numRuns: 15 },
    )
    await atWork.cancel()
    await atWork.result()
  })

  test('of runs that want an idle session at the same instant one is taken', async () => {
    const session = await platform.client.sessions.create()
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => post('/v1/runs', { prompt: 'hang', sessionId: session.id, ifBusy: 'refuse' })),
    )
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409, 409, 409])
    for (const { status, body } of answers) if (status === 201) await platform.client.runs.get(body.id).cancel()
  })

  test('a session is deleted or gets its run, never both, when both are asked for at once', async () => {
    for (let n = 0; n < 5; n++) {
      const session = await platform.client.sessions.create()
      const [deleted, started] = await Promise.all([
        platform.fetch(`/v1/sessions/${session.id}`, { method: 'DELETE' }),
        post('/v1/runs', { prompt: 'answer me', sessionId: session.id }),
      ])
      expect([
        [204, 410],
        [409, 201],
      ]).toContainEqual([deleted.status, started.status])
      if (started.status === 201)
        expect(await platform.client.runs.get(started.body.id).result()).toMatchObject({ outcome: 'succeeded' })
    }
  })

  if (name !== 'PostgreSQL') return

  test('connections that the database ends, again and again while runs are at work, cost no run and no request of the SDK', async () => {
    const breaker = new pg.Client(env.DATABASE_URL)
    await breaker.connect()
    const breakAll = () =>
      breaker.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
      )
    const session = await platform.client.sessions.create()
    const runs = [1, 2, 3].map(() => session.run('append a line'))
    for (const run of runs) for await (const _ of run) await breakAll()
    for (const run of runs) expect(await run.result()).toMatchObject({ outcome: 'succeeded' })
    await breakAll()
    expect(await session.files.readText('/workspace/lines.txt')).toBe('line\nline\nline\n')
    expect((await platform.fetch('/readyz', { key: '' })).status).toBe(200)
    await breaker.end()
  })

  test('a platform that is killed can start again at once, though its connections held the database', async () => {
    const { session } = await platform.client.run({ prompt: 'append a line' })
    const hanging = session.run('hang')
    for await (const event of hanging) if (event.type === 'model.request') break
    await platform.kill()
    await platform.up()
    const again = platform.client.runs.get(hanging.id)
    expect((await again.get()).state).toBe('running')
    await again.cancel()
    expect((await again.result()).outcome).toBe('cancelled')
    expect(await platform.client.sessions.get(session.id).files.readText('/workspace/lines.txt')).toBe('line\n')
  })

  test('another data folder, and a copy of this one, are refused on the same database', async () => {
    const other = await platform.cliWith(env, 'up', '--port', '0', '--data', join(platform.directory, 'other'))
    expect([other.status, other.stderr]).toEqual([1, expect.stringContaining('DATABASE_IN_USE')])
    expect(other.stderr).toContain(`${platform.dataDir} (installation `)
    const copy = join(platform.directory, 'copy')
    await mkdir(copy)
    await cp(join(platform.dataDir, 'installation'), join(copy, 'installation'))
    const second = await platform.cliWith(env, 'up', '--port', '0', '--data', copy)
    expect([second.status, second.stderr]).toEqual([1, expect.stringContaining('is a copy of one that is in use')])
    expect((await platform.client.runs.list({ limit: 1 })).items.length).toBe(1)
  })

  test('a database that is not there is told at the start', async () => {
    const { status, stderr } = await platform.cliWith(
      { DATABASE_URL: 'postgres://postgres@127.0.0.1:9/none' },
      'up',
      '--port',
      '0',
      '--data',
      join(platform.directory, 'nowhere'),
    )
    expect([status, stderr]).toEqual([1, expect.stringContaining('DATABASE_UNUSABLE')])
  })
})

test('a run outlives the loss of its database: the server says that it is not ready, and what ended meanwhile is written when it is back', async () => {
  const own = await startPostgres()
  const platform = await TestPlatform.start([workScript], { DATABASE_URL: own.url })
  try {
    const run = platform.client.run({ prompt: 'take a while' })
    for await (const event of run) if (event.type === 'tool.started') break
    await own.down()
    const status = async (path: string) => (await platform.fetch(path, { key: '' })).status
    expect([await status('/readyz'), await status('/healthz')]).toEqual([503, 200])
    const refused = await platform.fetch('/v1/runs', { method: 'POST', body: JSON.stringify({ prompt: 'answer me' }) })
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([503, 'NOT_READY'])
    const log = join(platform.dataDir, 'events/default', run.session.id, `${run.id}.ndjson`)
    await expect.poll(() => readFile(log, 'utf8'), { timeout: 30_000 }).toContain('"agent.finished"')
    await own.up()
    expect(await run.result()).toMatchObject({ outcome: 'succeeded', text: 'it took a while' })
    expect(await status('/readyz')).toBe(200)
    expect(await platform.client.run({ prompt: 'answer me' })).toMatchObject({ outcome: 'succeeded' })
  } finally {
    await platform.stop()
    await own.stop()
  }
})
