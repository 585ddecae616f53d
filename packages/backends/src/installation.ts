import { setTimeout as wait } from 'node:timers/promises'
import { Vm0Error } from '@vm0/contract'
import pg from 'pg'
import type { Database } from './database.js'
import { connectionSettings } from './postgres.js'

const lockKey = 7_300_002
/** How long a connection of a platform that was killed just now may still hold the lock. */
const staleLockMs = 5_000
const relockPauseMs = 1_000

/**
 * Binds the database to an installation for good: the event logs, layers and the key that opens prompts lie in that
 * installation's data folder, so another one could neither show nor carry on what the rows speak of.
 */
export async function claimInstallation({ db }: Database, installation: { id: string; place: string }): Promise<void> {
  await db
    .insertInto('installation')
    .values(installation)
    .onConflict((oc) => oc.column('only_one').doNothing())
    .execute()
  const owner = await db.selectFrom('installation').select(['id', 'place']).executeTakeFirstOrThrow()
  if (owner.id !== installation.id)
    throw new Vm0Error(
      'DATABASE_IN_USE',
      `the database belongs to the data folder ${owner.place} (installation ${owner.id}), where its keys, logs and layers lie; this is ${installation.place} (installation ${installation.id})`,
    )
}

/**
 * Holds the PostgreSQL database for this process, also against a copy of its data folder on another host. A lost connection
 * is made again; until then nothing is lost, for every write carries its session's epoch.
 */
export async function holdDatabase(url: string): Promise<() => Promise<void>> {
  const closed = new AbortController()
  let client: pg.Client | undefined

  const lock = async (): Promise<boolean> => {
    const candidate = new pg.Client(connectionSettings(url))
    candidate.on('error', () => {
      if (client !== candidate) return
      client = undefined
      void relock()
    })
    try {
      await candidate.connect()
      const { rows } = await candidate.query<{ held: boolean }>('select pg_try_advisory_lock($1) as held', [lockKey])
      if (rows[0]?.held && !closed.signal.aborted) {
        client = candidate
        return true
      }
    } catch (error) {
      await candidate.end().catch(() => undefined)
      throw error
    }
    await candidate.end()
    return false
  }
  const relock = async (): Promise<void> => {
    while (!closed.signal.aborted && !(await lock().catch(() => false))) await pause(relockPauseMs)
  }
  const pause = (ms: number): Promise<void> => wait(ms, undefined, { signal: closed.signal }).catch(() => undefined)

  for (const deadline = performance.now() + staleLockMs; !(await lock()); await pause(100)) {
    if (performance.now() > deadline) throw new Vm0Error('DATABASE_IN_USE', 'another `vm0 up` uses this database now')
  }
  return async () => {
    closed.abort()
    const held = client
    client = undefined
    await held?.end()
  }
}
