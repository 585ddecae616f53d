import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startPostgres, type PostgresServer } from '@vm0/testkit'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { claimInstallation, holdDatabase, isConnectionLost, openDatabase, overLostConnections } from './index.js'
import type { DatabaseOptions } from './index.js'

let postgres: PostgresServer
let directory: string
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres?.stop())
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-database-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

describe.each<[string, () => Promise<DatabaseOptions>]>([
  ['PGlite', async () => ({ directory: join(directory, 'db') })],
  ['PostgreSQL', async () => ({ url: await postgres.createDatabase() })],
])('%s', (_name, make) => {
  test('keeps rows, undoes what fails, and applies migrations once', async () => {
    const options = await make()
    const first = await openDatabase(options)
    await first.db.insertInto('projects').values({ id: 'p', name: 'P' }).execute()
    await expect(
      first.db.transaction().execute(async (trx) => {
        await trx.insertInto('projects').values({ id: 'q', name: 'Q' }).execute()
        throw new Error('undo')
      }),
    ).rejects.toThrow('undo')
    await first.close()
    const second = await openDatabase(options)
    const rows = await second.db.selectFrom('projects').select('id').execute()
    await second.close()
    expect(rows).toEqual([{ id: 'p' }])
  })

  test('belongs to the first installation that claims it', async () => {
    const database = await openDatabase(await make())
    await claimInstallation(database, { id: 'aaaaaa', place: 'host:/one' })
    await claimInstallation(database, { id: 'aaaaaa', place: 'host:/one/moved' })
    await expect(claimInstallation(database, { id: 'bbbbbb', place: 'host:/two' })).rejects.toMatchObject({
      code: 'DATABASE_IN_USE',
      message: expect.stringContaining('host:/one'),
    })
    await database.close()
  })
})

test('servers that start at once on an empty PostgreSQL all find one whole schema', async () => {
  const url = await postgres.createDatabase()
  const servers = await Promise.all([1, 2, 3, 4].map(() => openDatabase({ url })))
  await servers[0]!.db.insertInto('projects').values({ id: 'p', name: 'P' }).execute()
  for (const { db, close } of servers) {
    expect(await db.selectFrom('projects').select('id').execute()).toEqual([{ id: 'p' }])
    await close()
  }
})

test('a connection that breaks fails only what was using it, idle, in a statement, or inside a transaction', async () => {
  const url = await postgres.createDatabase()
  const { db, close } = await openDatabase({ url })
  const other = await openDatabase({ url })
  const endAll = () =>
    sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`.execute(
      other.db,
    )
  await sql`select 1`.execute(db)
  await endAll()
  // The end of an idle connection may be seen only by the statement that takes it.
  const select = () => sql<{ one: number }>`select 1 as one`.execute(db)
  const { rows: ones } = await overLostConnections(select, new AbortController().signal)
  expect(ones).toEqual([{ one: 1 }])

  const statement = sql`select pg_sleep(60)`.execute(db).catch((error: unknown) => error)
  while (
    (
      await sql`select 1 from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()`.execute(
        other.db,
      )
    ).rows.length === 0
  );
  await endAll()
  expect(isConnectionLost(await statement)).toBe(true)

  let attempts = 0
  const { rows } = await overLostConnections(async () => {
    attempts += 1
    return db.transaction().execute(async (trx) => {
      await trx.insertInto('projects').values({ id: 'p', name: 'P' }).execute()
      if (attempts === 1) await endAll()
      return sql`select id from projects`.execute(trx)
    })
  }, new AbortController().signal)
  expect([attempts, rows]).toEqual([2, [{ id: 'p' }]])
  expect(isConnectionLost(new Error('duplicate key value'))).toBe(false)
  await Promise.all([close(), other.close()])
})

test('one platform holds a PostgreSQL at a time, also after its connection was broken', async () => {
  const url = await postgres.createDatabase()
  const { db, close } = await openDatabase({ url })
  const holders = async () =>
    (
      await sql<{
        pid: number
      }>`select pid from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`.execute(
        db,
      )
    ).rows
  const release = await holdDatabase(url)
  await expect(holdDatabase(url)).rejects.toMatchObject({ code: 'DATABASE_IN_USE' })
  const [{ pid } = { pid: 0 }] = await holders()
  await sql`select pg_terminate_backend(${pid})`.execute(db)
  await expect
    .poll(async () => (await holders()).filter((holder) => holder.pid !== pid).length, { timeout: 20_000 })
    .toBe(1)
  await expect(holdDatabase(url)).rejects.toMatchObject({ code: 'DATABASE_IN_USE' })
  await release()
  await (
    await holdDatabase(url)
  )()
  await close()
})

test.each([
  ['nothing listens', 'postgres://postgres@127.0.0.1:9/none'],
  ['no such database', undefined],
])('a database that can not be used is told as such: %s', async (_name, url) => {
  await expect(openDatabase({ url: url ?? postgres.url.replace(/postgres$/, 'missing') })).rejects.toMatchObject({
    code: 'DATABASE_UNUSABLE',
  })
})

test('the embedded database has after SIGKILL all that it had said to be committed, and no half of a transaction', async () => {
  const built = join(import.meta.dirname, '../dist/index.js')
  const code = `
    const { openDatabase } = await import(${JSON.stringify(built)})
    const { db } = await openDatabase({ directory: process.argv[1] })
    for (let n = Number(process.argv[2]); ; n++) {
      await db.transaction().execute(async (trx) => {
        await trx.insertInto('projects').values({ id: 'a' + n, name: 'x' }).execute()
        await trx.insertInto('projects').values({ id: 'b' + n, name: 'x' }).execute()
      })
      console.log(n)
    }`
  let last = 0
  for (const rows of [1, 40, 7]) {
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', code, join(directory, 'db'), String(last + 1)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const closed = once(child, 'close')
    const upTo = last + rows
    for await (const line of createInterface({ input: child.stdout })) {
      last = Number(line)
      if (last === upTo) child.kill('SIGKILL')
    }
    await closed
    expect(last).toBeGreaterThanOrEqual(upTo)
    const { db, close } = await openDatabase({ directory: join(directory, 'db') })
    const ids = new Set((await db.selectFrom('projects').select('id').execute()).map(({ id }) => id))
    await close()
    for (let n = 1; n <= last; n++) expect([ids.has(`a${n}`), ids.has(`b${n}`)]).toEqual([true, true])
    expect(ids.has(`a${last + 1}`)).toBe(ids.has(`b${last + 1}`))
    if (ids.has(`a${last + 1}`)) last += 1 // committed, and killed before it was said
  }
})
