import { sql } from 'kysely'
import type { Database } from './database.js'

export interface CheckpointReference {
  id: string
  projectId: string
  sessionId: string
  /** The session begins from it; otherwise it can be gone back to. */
  isHead: boolean
}

/** Every checkpoint that an open session needs, as one statement sees it: its head, the one that it was forked from, its own. */
export async function referencedCheckpoints(db: Database['db']): Promise<CheckpointReference[]> {
  const { rows } = await sql<CheckpointReference>`
    select head as "id", project_id as "projectId", id as "sessionId", true as "isHead"
      from sessions where state = 'open' and head is not null
    union all
    select origin, project_id, id, false
      from sessions where state = 'open' and origin is not null and origin is distinct from head
    union all
    select c.id, c.project_id, c.session_id, false
      from checkpoints c join sessions s on s.project_id = c.project_id and s.id = c.session_id
      where s.state = 'open' and c.id is distinct from s.head and c.id is distinct from s.origin`.execute(db)
  return rows
}

/**
 * Removes the rows of deleted sessions' checkpoints, of one session or of all, but for those that an open session stands on or
 * was forked from. Needs a transaction: who makes a fork meanwhile holds the checkpoint's row, and is waited for.
 */
export async function forgetCheckpoints(
  trx: Database['db'],
  session?: { projectId: string; sessionId: string },
): Promise<void> {
  const only = session ? sql`and s.project_id = ${session.projectId} and s.id = ${session.sessionId}` : sql``
  const forgotten = sql`s.project_id = c.project_id and s.id = c.session_id and s.state = 'deleted' ${only}`
  await sql`select from checkpoints c join sessions s on ${forgotten} order by c.id for update of c`.execute(trx)
  // A statement of its own, so that it sees the forks that were waited for.
  await sql`
    delete from checkpoints c using sessions s
      where ${forgotten} and not exists (
        select from sessions o where o.project_id = c.project_id and o.state = 'open' and c.id in (o.head, o.origin)
      )`.execute(trx)
}
