import { sql, type Selectable } from 'kysely'
import type { Database } from './database.js'
import { hasStorageLeft } from './project-storage.js'
import type { Schema } from './schema.js'

export interface NewRunRow {
  projectId: string
  id: string
  sessionId: string
  framework: string
  model: string | null
  labels: object
  bodyHash: string
  spec: Uint8Array
  timings: object
  /** How long ago the request came, in milliseconds. */
  ageMs: number
}

/** A session that begins with nothing but its template. */
export interface NewSessionRow {
  template: string
  resources: object
  labels: object
  bodyHash: string
}

/**
 * Takes a run in one round trip, with the session that it begins where there is `session`. Undefined where anything is not
 * as usual: the run or the session exists, the queue or the storage is full, the session is not there or not open. Nothing is
 * written then, and whoever asks looks at each in turn to say which it is.
 */
export async function acceptRun(
  { db }: Database,
  run: NewRunRow,
  session: NewSessionRow | undefined,
  queuedRuns: number,
): Promise<Selectable<Schema['runs']> | undefined> {
  const owner = session
    ? sql`insert into sessions (project_id, id, template, body_hash, resources, labels)
        select room.id, ${run.sessionId}::uuid, ${session.template}::text, ${session.bodyHash}::text,
          ${JSON.stringify(session.resources)}::jsonb, ${JSON.stringify(session.labels)}::jsonb
        from room on conflict (project_id, id) do nothing returning project_id, id`
    : // Until the run is there nobody deletes the session.
      sql`select s.project_id, s.id from sessions s, room
        where s.project_id = room.id and s.id = ${run.sessionId}::uuid and s.state = 'open' for update of s`
  const { rows } = await sql<Selectable<Schema['runs']>>`
    with room as (
      select p.id from projects p where p.id = ${run.projectId} and ${hasStorageLeft}
        and (select r.id from runs r where r.project_id = p.id and r.state = 'queued' offset ${queuedRuns - 1} limit 1) is null
        and not exists (select from runs r where r.project_id = p.id and r.id = ${run.id}::uuid)
    ), owner as (${owner})
    insert into runs (project_id, id, session_id, state, framework, model, labels, body_hash, spec, timings, created_at)
    select owner.project_id, ${run.id}::uuid, owner.id, 'queued', ${run.framework}::text, ${run.model}::text,
      ${JSON.stringify(run.labels)}::jsonb, ${run.bodyHash}::text, ${run.spec}::bytea, ${JSON.stringify(run.timings)}::jsonb,
      now() - ${run.ageMs}::float8 * interval '1 millisecond'
    from owner on conflict (project_id, id) do nothing returning *`.execute(db)
  return rows[0]
}
