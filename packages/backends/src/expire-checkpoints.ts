import { sql } from 'kysely'
import type { Database } from './database.js'

export interface SessionCheckpoint {
  id: string
  createdAtMs: number
  name: string | null
}

/** Open sessions that have more checkpoints than `most`. */
export async function sessionsWithMany(
  { db }: Database,
  most: number,
): Promise<{ projectId: string; sessionId: string }[]> {
  const { rows } = await sql<{ projectId: string; sessionId: string }>`
    select c.project_id as "projectId", c.session_id as "sessionId"
      from checkpoints c join sessions s on s.project_id = c.project_id and s.id = c.session_id
      where s.state = 'open' group by 1, 2 having count(*) > ${most}`.execute(db)
  return rows
}

/**
 * Lets checkpoints of a session go: `choose` says which, of all that it has, the newest first. Heads, and what sessions were
 * forked from, stay whatever it says. Returns how many went.
 */
export function expireCheckpoints(
  { db }: Database,
  { projectId, sessionId }: { projectId: string; sessionId: string },
  choose: (checkpoints: SessionCheckpoint[]) => string[],
): Promise<number> {
  return db.transaction().execute(async (trx) => {
    // Who makes a fork meanwhile holds the checkpoint's row, and is waited for; who rolls back or saves holds the session's.
    await sql`select from sessions where project_id = ${projectId} and id = ${sessionId} for update`.execute(trx)
    const rows = await trx
      .selectFrom('checkpoints')
      .select(['id', 'created_at', 'name'])
      .where('project_id', '=', projectId)
      .where('session_id', '=', sessionId)
      .orderBy('position', 'desc')
      .forUpdate()
      .execute()
    const chosen = choose(
      rows.map(({ id, created_at, name }) => ({ id, name, createdAtMs: new Date(created_at).getTime() })),
    )
    if (chosen.length === 0) return 0
    const { rows: gone } = await sql`
      delete from checkpoints c
        where c.project_id = ${projectId} and c.session_id = ${sessionId} and c.id = any(${chosen}::text[])
        and not exists (
          select from sessions o where o.project_id = c.project_id and o.state = 'open' and c.id in (o.head, o.origin)
        )
        returning c.id`.execute(trx)
    return gone.length
  })
}
