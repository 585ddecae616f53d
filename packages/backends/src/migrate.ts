import { readFile, readdir } from 'node:fs/promises'

const migrationsFolder = new URL('../migrations/', import.meta.url)
/** Any number that nothing else in the database locks. */
const lockKey = 7_300_001

/**
 * Applies the files of `migrations/` that the database hasn't had, in order, each in a transaction. `run` always uses the
 * same connection: two servers that start at once wait for each other at a lock of the session.
 */
export async function migrate(run: (script: string) => Promise<unknown[]>): Promise<void> {
  await run(`select pg_advisory_lock(${lockKey})`)
  try {
    await run(
      'create table if not exists vm0_migrations (name text primary key, applied_at timestamptz not null default now())',
    )
    const applied = new Set(
      ((await run('select name from vm0_migrations')) as { name: string }[]).map(({ name }) => name),
    )
    for (const name of (await readdir(migrationsFolder)).filter((file) => file.endsWith('.sql')).toSorted()) {
      if (!/^\d{4}_[a-z0-9_]+\.sql$/.test(name))
        throw new Error(`migration file ${name}: expected a name like 0001_what.sql`)
      if (applied.has(name)) continue
      const script = await readFile(new URL(name, migrationsFolder), 'utf8')
      try {
        await run(`begin;\n${script};\ninsert into vm0_migrations (name) values ('${name}');\ncommit;`)
      } catch (error) {
        await run('rollback').catch(() => undefined)
        throw error
      }
    }
  } finally {
    await run(`select pg_advisory_unlock(${lockKey})`).catch(() => undefined)
  }
}
