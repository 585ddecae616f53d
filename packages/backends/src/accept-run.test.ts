import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres, type PostgresServer } from '@vm0/testkit'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { acceptClaimedRun, acceptRun, openDatabase, type Database, type NewRunRow } from './index.js'

let postgres: PostgresServer
let directory: string
beforeAll(async () => {
  postgres = await startPostgres()
  directory = await mkdtemp(join(tmpdir(), 'vm0-accept-'))
})
afterAll(async () => {
  await postgres?.stop()
  await rm(directory, { recursive: true, force: true })
})

const queuedRuns = 3
const newSession = { template: 't', resources: { cpus: 1 }, labels: { team: 'a' }, bodyHash: 'session' }

describe.each<[string, () => Promise<Database>]>([
  ['PGlite', () => openDatabase({ directory: join(directory, 'db') })],
  ['PostgreSQL', async () => openDatabase({ url: await postgres.createDatabase() })],
])('%s', (_name, open) => {
  let database: Database
  let project: string
  beforeAll(async () => {
    database = await open()
  })
  afterAll(() => database?.close())
  beforeEach(async () => {
    project = randomUUID()
    await database.db.insertInto('projects').values({ id: project, name: 'P' }).execute()
  })

  const runOf = (values: Partial<NewRunRow> = {}): NewRunRow => ({
    projectId: project,
    id: randomUUID(),
    sessionId: randomUUID(),
    framework: 'claude-code',
    model: null,
    labels: { pr: '7' },
    bodyHash: 'run',
    spec: Buffer.from('sealed'),
    timings: { authorisedMs: 1.5 },
    ageMs: 60_000,
    ...values,
  })
  const rowCount = async () => {
    const { rows } = await sql<{ runs: number; sessions: number }>`
      select (select count(*)::int from runs where project_id = ${project}) as runs,
        (select count(*)::int from sessions where project_id = ${project}) as sessions`.execute(database.db)
    return rows[0]
  }

  test('a run and the session that it begins are there, as they were asked for', async () => {
    const run = runOf()
    const made = await acceptRun(database, run, newSession, queuedRuns)
    expect(made).toMatchObject({ id: run.id, session_id: run.sessionId, state: 'queued', labels: { pr: '7' } })
    expect(Buffer.from(made!.spec).toString()).toBe('sealed')
    expect(made!.timings).toEqual({ authorisedMs: 1.5 })
    const { rows } = await sql<{ ageMs: number }>`
      select extract(epoch from now() - created_at)::float8 * 1000 as "ageMs" from runs where id = ${run.id}`.execute(
      database.db,
    )
    expect(rows[0]!.ageMs).toBeGreaterThanOrEqual(60_000)
    const session = await database.db
      .selectFrom('sessions')
      .selectAll()
      .where('id', '=', run.sessionId)
      .executeTakeFirst()
    expect(session).toMatchObject({
      template: 't',
      resources: { cpus: 1 },
      labels: { team: 'a' },
      state: 'open',
      head: null,
    })
    const next = runOf({ sessionId: run.sessionId })
    expect(await acceptRun(database, next, undefined, queuedRuns)).toMatchObject({
      id: next.id,
      session_id: run.sessionId,
    })
  })

  test('whatever is not as usual leaves nothing', async () => {
    const first = runOf()
    await acceptRun(database, first, newSession, queuedRuns)
    const refused = async (run: NewRunRow, session?: typeof newSession) => {
      const before = await rowCount()
      expect(await acceptRun(database, run, session, queuedRuns)).toBeUndefined()
      expect(await rowCount()).toEqual(before)
    }
    // The run exists, the session exists, it doesn't, it was deleted, the project doesn't exist.
    await refused(runOf({ id: first.id }), newSession)
    await refused(runOf({ id: first.id, sessionId: first.sessionId }))
    await refused(runOf({ sessionId: first.sessionId }), newSession)
    await refused(runOf())
    await refused(runOf({ projectId: randomUUID() }), newSession)
    const deleted = runOf()
    await acceptRun(database, deleted, newSession, queuedRuns)
    await database.db.updateTable('sessions').set({ state: 'deleted' }).where('id', '=', deleted.sessionId).execute()
    await refused(runOf({ sessionId: deleted.sessionId }))
    // The queue is full; then the storage is.
    await acceptRun(database, runOf(), newSession, queuedRuns)
    await refused(runOf(), newSession)
    await sql`update runs set state = 'succeeded' where project_id = ${project}`.execute(database.db)
    await sql`update projects set quota_bytes = 0 where id = ${project}`.execute(database.db)
    await refused(runOf(), newSession)
  })

  test("a run that is begun at once is its runner's, as if the runner had claimed it after", async () => {
    const claim = (run: NewRunRow, session?: typeof newSession, runnerId = 'runner-1') =>
      acceptClaimedRun(database, run, session, queuedRuns, runnerId)
    const first = runOf()
    const made = await claim(first, newSession)
    expect(made?.run).toMatchObject({ id: first.id, state: 'starting', session_id: first.sessionId })
    expect([Number(made?.run.epoch), made?.run.started_at]).toEqual([1, expect.any(Date)])
    const session = {
      template: 't',
      head: null,
      agentSessionId: null,
      resources: { cpus: 1 },
      workspaceUpload: null,
      epoch: 1,
      lostProcesses: null,
    }
    expect(made?.session).toEqual(session)
    const stored = async () => {
      const row = await database.db
        .selectFrom('sessions')
        .select(['runner_id', 'epoch'])
        .where('id', '=', first.sessionId)
        .executeTakeFirstOrThrow()
      return [row.runner_id, Number(row.epoch)]
    }
    expect(await stored()).toEqual(['runner-1', 1])
    // Another run of the session is at work, then queued: nothing is written, by whomever it is asked for.
    const next = () => runOf({ sessionId: first.sessionId })
    for (const state of ['starting', 'running', 'waiting', 'queued']) {
      await database.db.updateTable('runs').set({ state }).where('id', '=', first.id).execute()
      const before = await rowCount()
      expect(await claim(next(), undefined, 'runner-2')).toBeUndefined()
      expect(await rowCount()).toEqual(before)
      expect(await stored()).toEqual(['runner-1', 1])
    }
    await database.db.updateTable('runs').set({ state: 'succeeded' }).where('id', '=', first.id).execute()
    // The same owner keeps its epoch, another one raises it.
    for (const [runner, epoch] of [
      ['runner-1', 1],
      ['runner-2', 2],
    ] as const) {
      const again = next()
      const taken = await claim(again, undefined, runner)
      expect([Number(taken?.run.epoch), taken?.session]).toEqual([epoch, { ...session, epoch }])
      expect(await stored()).toEqual([runner, epoch])
      await database.db.updateTable('runs').set({ state: 'failed' }).where('id', '=', again.id).execute()
    }
    // What is not as usual leaves nothing here either.
    const before = await rowCount()
    await sql`update projects set quota_bytes = 0 where id = ${project}`.execute(database.db)
    for (const [run, begins] of [
      [runOf(), newSession],
      [next(), undefined],
      [runOf({ id: first.id }), newSession],
    ] as const)
      expect(await claim(run, begins)).toBeUndefined()
    expect(await rowCount()).toEqual(before)
  })

  test('the same request twice at once makes one run', async () => {
    const run = runOf()
    const made = await Promise.all([1, 2, 3].map(() => acceptRun(database, run, newSession, queuedRuns)))
    expect(made.filter(Boolean).length).toBe(1)
    expect(await rowCount()).toEqual({ runs: 1, sessions: 1 })
  })
})
