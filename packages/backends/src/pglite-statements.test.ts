import { mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openCluster } from './pglite-cluster.js'
import { PGliteStatements } from './pglite-statements.js'

let directory: string
let pglite: PGlite
let statements: PGliteStatements
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-statements-'))
  const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
  pglite = await openCluster(join(directory, 'db'), cacheDir)
  statements = new PGliteStatements(pglite)
  await pglite.exec('create table t (id int primary key, about jsonb)')
})
afterAll(async () => {
  await pglite?.close()
  await rm(directory, { recursive: true, force: true })
})

const prepared = async (): Promise<number> => {
  const { rows } = await pglite.query<{ count: number }>('select count(*)::int as count from pg_prepared_statements')
  return rows[0]!.count
}

test('values come back as PGlite itself gives them, the first time and later', async () => {
  const text = `select $1::bytea as bytes, $2::jsonb as json, $3::timestamptz as at, $4::text[] as list, $5::int8 as large,
    $6::bool as yes, $7::float8 as ratio, $8::text as nothing, '{"a":[1]}'::jsonb as fixed`
  const values = [Buffer.from([0, 255]), { a: ['"'] }, new Date(0), ['a', '{,}'], '9007199254740993', true, 0.1, null]
  const expected = await pglite.query(text, values)
  for (let time = 0; time < 7; time++) {
    const { rows, affectedRows } = await statements.query(text, values)
    expect({ rows, affectedRows }).toEqual({ rows: expected.rows, affectedRows: expected.affectedRows })
  }
  expect(expected.rows).toMatchObject([{ large: 9007199254740993n, nothing: null, list: ['a', '{,}'] }])
})

test('what a statement has changed is counted', async () => {
  const insert = 'insert into t (id) select * from generate_series($1::int, $2::int)'
  expect((await statements.query(insert, [1, 3])).affectedRows).toBe(3)
  expect((await statements.query('delete from t where id > $1', [1])).affectedRows).toBe(2)
})

test('after one that fails, with its code, others go on: when it is parsed and when it is carried out', async () => {
  const insert = 'insert into t (id) values ($1) returning id'
  await statements.query(insert, [7])
  await expect(statements.query(insert, [7])).rejects.toMatchObject({ code: '23505' })
  await expect(statements.query('select * from nowhere', [])).rejects.toMatchObject({ code: '42P01' })
  await expect(statements.query(insert, ['x'])).rejects.toMatchObject({ code: '22P02' })
  expect((await statements.query(insert, [8])).rows).toEqual([{ id: 8 }])

  // In a transaction too: its end is understood, whether that was asked for before or not.
  await statements.query('begin', [])
  await expect(statements.query(insert, [8])).rejects.toMatchObject({ code: '23505' })
  await expect(statements.query(insert, [9])).rejects.toMatchObject({ code: '25P02' })
  await statements.query('rollback', [])
  expect((await statements.query(insert, [9])).rows).toEqual([{ id: 9 }])
})

test('many at once take turns, and no more plans are kept than that', async () => {
  const texts = Array.from({ length: 250 }, (_, index) => `select $1::int + ${index} as sum`)
  const sums = await Promise.all(texts.map((text) => statements.query<{ sum: number }>(text, [1])))
  expect(sums.map(({ rows }) => rows[0]!.sum)).toEqual(texts.map((_, index) => 1 + index))
  expect(await prepared()).toBeLessThanOrEqual(200)
  const words = 'x'.repeat(10_000)
  expect((await statements.query(`select '${words}' as words`, [])).rows).toEqual([{ words }])
  expect(await prepared()).toBeLessThanOrEqual(200)
})
