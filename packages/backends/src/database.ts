import { readFile, readdir } from 'node:fs/promises'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { openCluster } from './pglite-cluster.js'
import { PGliteDialect } from './pglite-dialect.js'
import type { Schema } from './schema.js'

export interface Database {
  readonly db: Kysely<Schema>
  readonly kind: 'pglite' | 'postgres'
  close(): Promise<void>
}

export type DatabaseOptions =
  | { url: string }
  | {
      directory: string
      /** Where an empty cluster is kept for the next new database. */
      cacheDir?: string
    }

/** Opens PostgreSQL by URL, or the embedded PGlite in a folder, and brings its schema up to date. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  if ('url' in options) {
    const pool = new pg.Pool({ connectionString: options.url, max: 10 })
    pool.on('error', () => undefined) // an idle connection that breaks is replaced on the next query
    try {
      await migrate((text) => pool.query(text).then(lastRows))
    } catch (error) {
      await pool.end()
      throw error
    }
    const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
    return { db, kind: 'postgres', close: () => db.destroy() }
  }
  const pglite = await openCluster(options.directory, options.cacheDir)
  await migrate((text) => pglite.exec(text).then((results) => results.at(-1)?.rows ?? []))
  const db = new Kysely<Schema>({ dialect: new PGliteDialect(pglite) })
  return { db, kind: 'pglite', close: () => db.destroy() }
}

const migrationsFolder = new URL('../migrations/', import.meta.url)

/**
 * Applies the files of `migrations/` that the database hasn't had, in order, each in a transaction. Two servers that start
 * at once wait for each other at the lock.
 */
async function migrate(run: (script: string) => Promise<unknown[]>): Promise<void> {
  await run(
    'create table if not exists vm0_migrations (name text primary key, applied_at timestamptz not null default now())',
  ).catch((error: { code?: string }) => {
    if (error.code !== '23505') throw error // another server made it at this moment
  })
  for (const name of (await readdir(migrationsFolder)).filter((file) => file.endsWith('.sql')).toSorted()) {
    if (!/^\d{4}_[a-z0-9_]+\.sql$/.test(name))
      throw new Error(`migration file ${name}: expected a name like 0001_what.sql`)
    const rows = await run(`select name from vm0_migrations where name = '${name}'`)
    if (rows.length > 0) continue
    const script = await readFile(new URL(name, migrationsFolder), 'utf8')
    const guarded = `begin; lock table vm0_migrations in exclusive mode; insert into vm0_migrations (name) values ('${name}');\n${script}\ncommit;`
    try {
      await run(guarded)
    } catch (error) {
      await run('rollback').catch(() => undefined)
      const applied = await run(`select name from vm0_migrations where name = '${name}'`)
      if (applied.length === 0) throw error
    }
  }
}

function lastRows(result: pg.QueryResult | pg.QueryResult[]): unknown[] {
  return Array.isArray(result) ? (result.at(-1)?.rows ?? []) : result.rows
}
