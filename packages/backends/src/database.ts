import { Kysely, PostgresDialect } from 'kysely'
import { migrate } from './migrate.js'
import { openCluster } from './pglite-cluster.js'
import { PGliteDialect } from './pglite-dialect.js'
import { openPool } from './postgres.js'
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
    const pool = await openPool(options.url)
    const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
    return { db, kind: 'postgres', close: () => db.destroy() }
  }
  const pglite = await openCluster(options.directory, options.cacheDir)
  await migrate((text) => pglite.exec(text).then((results) => results.at(-1)?.rows ?? []))
  const db = new Kysely<Schema>({ dialect: new PGliteDialect(pglite) })
  return { db, kind: 'pglite', close: () => db.destroy() }
}
