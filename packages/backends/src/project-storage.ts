import { sql } from 'kysely'
import type { Database } from './database.js'

export interface ProjectStorage {
  /** What its checkpoints hold: the plain size of each one's own layer. What sessions share by forks counts once. */
  storedBytes: number
  /** Null: without bound. */
  quotaBytes: number | null
}

export interface SessionStorage {
  id: string
  storedBytes: number
  checkpoints: number
}

type Row = { storedBytes: number | string; quotaBytes: number | string | null }

const storedBytes = sql`(select coalesce(sum(size_bytes), 0) from checkpoints c where c.project_id = p.id)`

/** Of a project `p`: it stores less than it may. */
export const hasStorageLeft = sql`(p.quota_bytes is null or ${storedBytes} < p.quota_bytes)`

/** What a project stores and may store; undefined where it doesn't exist. */
export async function projectStorage(db: Database['db'], projectId: string): Promise<ProjectStorage | undefined> {
  const { rows } = await sql<Row>`
    select quota_bytes as "quotaBytes", ${storedBytes} as "storedBytes"
      from projects p where id = ${projectId}`.execute(db)
  return rows[0] && storage(rows[0])
}

export interface UnderQuota {
  storedBytes: number
  quotaBytes: number
}

/** The same where the project has a quota: of the others nothing is summed up. */
export async function storageUnderQuota(db: Database['db'], projectId: string): Promise<UnderQuota | undefined> {
  const { rows } = await sql<Row>`
    select quota_bytes as "quotaBytes", ${storedBytes} as "storedBytes"
      from projects p where id = ${projectId} and quota_bytes is not null`.execute(db)
  return rows[0] && (storage(rows[0]) as UnderQuota)
}

/** The same, and whether as many of the project's runs wait to start as may: in one question, since every new run asks it. */
export async function roomForRun(
  db: Database['db'],
  projectId: string,
  queuedRuns: number,
): Promise<{ queueFull: boolean; stored: UnderQuota | undefined }> {
  const { rows } = await sql<Row & { queueFull: boolean }>`
    select quota_bytes as "quotaBytes",
        case when quota_bytes is null then 0 else ${storedBytes} end as "storedBytes",
        (select r.id from runs r where r.project_id = p.id and r.state = 'queued' offset ${queuedRuns - 1} limit 1)
          is not null as "queueFull"
      from projects p where id = ${projectId}`.execute(db)
  const [row] = rows
  if (!row) return { queueFull: false, stored: undefined }
  return { queueFull: row.queueFull, stored: row.quotaBytes === null ? undefined : (storage(row) as UnderQuota) }
}

/** Its sessions that hold most, the largest first. */
export async function largestSessions(db: Database['db'], projectId: string, limit: number): Promise<SessionStorage[]> {
  const { rows } = await sql<{ id: string; storedBytes: number | string; checkpoints: number | string }>`
    select session_id as id, sum(size_bytes) as "storedBytes", count(*) as checkpoints
      from checkpoints where project_id = ${projectId}
      group by session_id order by sum(size_bytes) desc, session_id limit ${limit}`.execute(db)
  return rows.map(({ id, storedBytes, checkpoints }) => ({
    id,
    storedBytes: Number(storedBytes),
    checkpoints: Number(checkpoints),
  }))
}

const storage = ({ storedBytes, quotaBytes }: Row): ProjectStorage => ({
  storedBytes: Number(storedBytes),
  quotaBytes: quotaBytes === null ? null : Number(quotaBytes),
})
