import { Vm0Error } from '@vm0/contract'
import pg from 'pg'
import { migrate } from './migrate.js'
import { isConnectionLost } from './reconnect.js'

/** PostgreSQL 15: `design.md`'s oldest, and the one that the tests run on. */
const minServerVersion = 150_000

export const connectionSettings = (url: string): pg.ClientConfig => ({
  connectionString: url,
  connectionTimeoutMillis: 10_000,
  keepAlive: true,
  application_name: 'vm0',
})

/** A pool whose connections may break at any time: a broken one is replaced, and fails only what was using it. */
export async function openPool(url: string): Promise<pg.Pool> {
  const pool = new pg.Pool({ ...connectionSettings(url), max: 10 })
  pool.on('error', () => undefined)
  // The pool listens only while a connection is idle; one that breaks inside a transaction must not end the process.
  pool.on('connect', (client) => client.on('error', () => undefined))
  try {
    const client = await pool.connect()
    try {
      await checkVersion(client)
      await migrate(async (script) => lastRows(await client.query(script)))
    } finally {
      client.release()
    }
    return pool
  } catch (error) {
    await pool.end()
    throw asUnusable(error)
  }
}

async function checkVersion(client: pg.PoolClient): Promise<void> {
  const { rows } = await client.query<{ number: number; text: string }>(
    "select current_setting('server_version_num')::int as number, current_setting('server_version') as text",
  )
  const [version] = rows
  if (version && version.number < minServerVersion)
    throw new Vm0Error('DATABASE_UNUSABLE', `the database is PostgreSQL ${version.text}; expected 15 or newer`)
}

function asUnusable(error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException
  // Class 28: refused; 3D: no such database; 42501: not allowed.
  if (!isConnectionLost(error) && !/^(28...|3D...|42501)$/.test(code)) return error
  return new Vm0Error('DATABASE_UNUSABLE', `the database could not be used: ${message || code}`, { cause: error })
}

function lastRows(result: pg.QueryResult | pg.QueryResult[]): unknown[] {
  return Array.isArray(result) ? (result.at(-1)?.rows ?? []) : result.rows
}
