import { activeStates, type ClaimedSession } from '@vm0/contract'
import { sql, type Selectable } from 'kysely'
import { claimedSession, nextEpoch, type ClaimedSessionRow } from './claimed-session.js'
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

type Row = Selectable<Schema['runs']>

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
): Promise<Row | undefined> {
  const owner = session
    ? sql`insert into sessions (${sessionColumns}) select ${sessionValues(run, session)} from room
        on conflict (project_id, id) do nothing returning project_id, id`
    : // Until the run is there nobody deletes the session.
      sql`select s.project_id, s.id from sessions s, room
        where s.project_id = room.id and s.id = ${run.sessionId}::uuid and s.state = 'open' for update of s`
  const { rows } = await sql<Row>`
    with room as (${roomFor(run, queuedRuns)}), owner as (${owner})
    insert into runs (${runColumns}) select ${runValues(run)}, 'queued' from owner
    on conflict (project_id, id) do nothing returning *`.execute(db)
  return rows[0]
}

/**
 * The same for a run that the runner begins at once: it is `starting`, and runner and epoch are in the rows as if the runner
 * had claimed them after. Undefined also where a run of the session is queued or at work. Of two at once for one session
 * neither sees the other: whoever asks keeps them apart.
 */
export async function acceptClaimedRun(
  { db }: Database,
  run: NewRunRow,
  session: NewSessionRow | undefined,
  queuedRuns: number,
  runnerId: string,
): Promise<{ run: Row; session: ClaimedSession } | undefined> {
  const owner = session
    ? sql`insert into sessions (${sessionColumns}, runner_id, epoch)
        select ${sessionValues(run, session)}, ${runnerId}::text, 1 from room
        on conflict (project_id, id) do nothing returning *`
    : sql`update sessions s set runner_id = ${runnerId}::text, epoch = ${nextEpoch(runnerId)}
        from room where s.project_id = room.id and s.id = ${run.sessionId}::uuid and s.state = 'open'
          and not exists (select from runs r where r.project_id = s.project_id and r.session_id = s.id
            and r.state in (${sql.join(activeStates)}))
        returning s.*`
  const { rows } = await sql<Row & { owner: ClaimedSessionRow }>`
    with room as (${roomFor(run, queuedRuns)}), owner as (${owner}), made as (
      insert into runs (${runColumns}, epoch, started_at)
      select ${runValues(run)}, 'starting', owner.epoch, now() from owner
      on conflict (project_id, id) do nothing returning *
    )
    select made.*, to_jsonb(owner) as owner from made, owner`.execute(db)
  const [row] = rows
  if (!row) return undefined
  const { owner: claimed, ...made } = row
  return { run: made, session: claimedSession(claimed) }
}

/** The project, where it has room for the run and hasn't got it already. */
const roomFor = (run: NewRunRow, queuedRuns: number) => sql`
  select p.id from projects p where p.id = ${run.projectId} and ${hasStorageLeft}
    and (select r.id from runs r where r.project_id = p.id and r.state = 'queued' offset ${queuedRuns - 1} limit 1) is null
    and not exists (select from runs r where r.project_id = p.id and r.id = ${run.id}::uuid)`

const sessionColumns = sql`project_id, id, template, body_hash, resources, labels`
const sessionValues = (run: NewRunRow, session: NewSessionRow) => sql`
  room.id, ${run.sessionId}::uuid, ${session.template}::text, ${session.bodyHash}::text,
  ${JSON.stringify(session.resources)}::jsonb, ${JSON.stringify(session.labels)}::jsonb`

const runColumns = sql`
  project_id, id, session_id, framework, model, labels, body_hash, spec, timings, created_at, state`
const runValues = (run: NewRunRow) => sql`
  owner.project_id, ${run.id}::uuid, owner.id, ${run.framework}::text, ${run.model}::text,
  ${JSON.stringify(run.labels)}::jsonb, ${run.bodyHash}::text, ${run.spec}::bytea, ${JSON.stringify(run.timings)}::jsonb,
  now() - ${run.ageMs}::float8 * interval '1 millisecond'`
