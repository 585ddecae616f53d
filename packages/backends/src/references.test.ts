import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { startPostgres, type PostgresServer } from '@vm0/testkit'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  forgetCheckpoints,
  forgetUploads,
  openDatabase,
  pinUpload,
  referencedCheckpoints,
  type Database,
} from './index.js'

let postgres: PostgresServer
let directory: string
beforeAll(async () => {
  postgres = await startPostgres()
  directory = await mkdtemp(join(tmpdir(), 'vm0-references-'))
})
afterAll(async () => {
  await postgres?.stop()
  await rm(directory, { recursive: true, force: true })
})

describe.each<[string, () => Promise<Database>]>([
  ['PGlite', () => openDatabase({ directory: join(directory, 'db') })],
  ['PostgreSQL', async () => openDatabase({ url: await postgres.createDatabase() })],
])('%s', (_name, open) => {
  let database: Database
  beforeAll(async () => {
    database = await open()
    await database.db.insertInto('projects').values({ id: 'p', name: 'P' }).execute()
  })
  afterAll(() => database?.close())

  const session = async (values: Record<string, string>): Promise<string> => {
    const id = randomUUID()
    await database.db
      .insertInto('sessions')
      .values({ project_id: 'p', id, template: 't', resources: '{}', labels: '{}', body_hash: '', ...values } as never)
      .execute()
    return id
  }
  const checkpoint = async (id: string, session_id: string): Promise<void> => {
    const row = { project_id: 'p', id, session_id, cause: 'run', epoch: 1, size_bytes: 1 }
    await database.db
      .insertInto('checkpoints')
      .values(row as never)
      .execute()
  }
  const forget = (only?: { projectId: string; sessionId: string }): Promise<void> =>
    database.db.transaction().execute((trx) => forgetCheckpoints(trx, only))
  const referenced = async (): Promise<string[]> =>
    (await referencedCheckpoints(database.db)).map(({ id, isHead }) => `${id}${isHead ? ' head' : ''}`).toSorted()

  test('checkpoints are needed by the open sessions that have them, stand on them or were forked from them', async () => {
    const mine = await session({ head: 'a2' })
    await checkpoint('a1', mine)
    await checkpoint('a2', mine)
    const deleted = await session({ state: 'deleted' })
    await checkpoint('b1', deleted)
    await checkpoint('b2', deleted)
    await checkpoint('b3', deleted)
    const forks = [await session({ head: 'b2', origin: 'b2' }), await session({ head: 'f1', origin: 'b1' })]
    await checkpoint('f1', forks[1] as string)
    expect(await referenced()).toEqual(['a1', 'a2 head', 'b1', 'b2 head', 'f1 head'])
    await forget({ projectId: 'p', sessionId: mine })
    await forget()
    const rows = await database.db.selectFrom('checkpoints').select('id').orderBy('id').execute()
    expect(rows.map(({ id }) => id)).toEqual(['a1', 'a2', 'b1', 'b2', 'f1'])
    await database.db.updateTable('sessions').set({ state: 'deleted', head: null }).where('id', 'in', forks).execute()
    await forget()
    expect(await referenced()).toEqual(['a1', 'a2 head'])
  })

  test('uploads are needed for the grace time after they were last named, and until they are unpacked', async () => {
    for (const digest of ['new', 'old', 'named', 'waiting', 'unpacked', 'of a run'])
      await database.db.insertInto('uploads').values({ project_id: 'p', digest, size_bytes: 1 }).execute()
    await database.db
      .updateTable('uploads')
      .set({ created_at: sql<Date>`now() - interval '2 hours'` })
      .where('digest', '!=', 'new')
      .execute()
    await session({ workspace_upload: 'waiting' })
    await session({ workspace_upload: 'unpacked', head: 'c1' })
    expect(await pinUpload(database.db, { projectId: 'p', digest: 'named' })).toBe(true)
    expect(await pinUpload(database.db, { projectId: 'p', digest: 'nothing' })).toBe(false)
    await forgetUploads(database.db, 3_600_000, [{ projectId: 'p', digest: 'of a run' }])
    const rows = await database.db.selectFrom('uploads').select('digest').execute()
    expect(rows.map(({ digest }) => digest).toSorted()).toEqual(['named', 'new', 'of a run', 'waiting'])
  })
})

test('a fork that is made while its session is deleted keeps its checkpoint', async () => {
  const database = await openDatabase({ url: await postgres.createDatabase() })
  const { db } = database
  const [source, fork] = [randomUUID(), randomUUID()]
  const row = { project_id: 'p', template: 't', resources: '{}', labels: '{}', body_hash: '' }
  await db.insertInto('projects').values({ id: 'p', name: 'P' }).execute()
  await db
    .insertInto('sessions')
    .values({ ...row, id: source, state: 'deleted' } as never)
    .execute()
  const checkpoint = { project_id: 'p', id: 'c', session_id: source, cause: 'run', epoch: 1, size_bytes: 1 }
  await db
    .insertInto('checkpoints')
    .values(checkpoint as never)
    .execute()
  let forgetting: Promise<void> | undefined
  await db.transaction().execute(async (trx) => {
    await trx.selectFrom('checkpoints').select('id').forKeyShare().execute()
    forgetting = db.transaction().execute((other) => forgetCheckpoints(other))
    await trx
      .insertInto('sessions')
      .values({ ...row, id: fork, head: 'c', origin: 'c' } as never)
      .execute()
    // Long enough for the other one to have looked, had it not waited.
    await wait(200)
  })
  await forgetting
  expect(await db.selectFrom('checkpoints').select('id').execute()).toEqual([{ id: 'c' }])
  await database.close()
})
