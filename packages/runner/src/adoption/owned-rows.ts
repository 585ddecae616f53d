import { claimedSession, overLostConnections, type ClaimedSessionRow, type Database } from '@vm0/backends'
import type { ClaimedRun, ClaimedSession, RunRef, SessionRef, Timings } from '@vm0/contract'
import { sql } from 'kysely'
import { hostLost } from '../host-lost.js'
import { ageMs } from '../store.js'
import type { OwnedSession } from './verdict.js'

export interface OwnedRow extends OwnedSession {
  state: ClaimedSession
  claimed: ClaimedRun | undefined
}

interface Row extends ClaimedSessionRow {
  project_id: string
  id: string
  run_id: string | null
  run_state: string
  spec: Uint8Array
  framework: string
  age_ms: number | string | null
  attempts: number
  timings: Partial<Timings>
}

/** What the rows say of the sessions that a runner owned when its process ended. */
export class OwnedRows {
  constructor(
    private readonly database: Database,
    private readonly runnerId: string,
    private readonly patience: AbortSignal,
  ) {}

  async read(): Promise<OwnedRow[]> {
    const query = sql<Row>`
      select sessions.project_id, sessions.id, sessions.template, sessions.head, sessions.agent_session_id,
        sessions.resources, sessions.workspace_upload, sessions.lost_processes, sessions.epoch,
        runs.id as run_id, runs.state as run_state, runs.spec, runs.framework, ${ageMs} as age_ms,
        runs.attempts, runs.timings
      from sessions left join runs on runs.project_id = sessions.project_id and runs.session_id = sessions.id
        and runs.state in ('starting', 'running', 'waiting')
      where sessions.runner_id = ${this.runnerId} and sessions.state = 'open'`
    const { rows } = await overLostConnections(() => query.execute(this.database.db), this.patience)
    return rows.map(owned)
  }

  /** An agent had its prompt: so the run is `running`, which the earlier process may not have come to write. */
  async markRunning({ projectId }: SessionRef, runId: string, agentVersion: string | null): Promise<void> {
    const query = sql`
      update runs set state = 'running', agent_version = coalesce(${agentVersion}::text, agent_version)
      where project_id = ${projectId} and id = ${runId} and state = 'starting'`
    await overLostConnections(() => query.execute(this.database.db), this.patience)
  }

  /**
   * Every other session that the runner owned gets a new epoch, and its run ends as `died`. Queued runs stay queued. That
   * runs have ended is in the rows alone, which readers of their events look into.
   */
  release(others: readonly SessionRef[]): Promise<RunRef[]> {
    const kept = JSON.stringify(others.map(({ projectId, sessionId }) => ({ project_id: projectId, id: sessionId })))
    const given = sql`
      select project_id, id from sessions where runner_id = ${this.runnerId} and not exists (
        select from jsonb_to_recordset(${kept}::jsonb) as kept (project_id text, id uuid)
        where kept.project_id = sessions.project_id and kept.id = sessions.id)`
    const error = JSON.stringify(hostLost('the platform ended while this run was at work'))
    return overLostConnections(
      () =>
        this.database.db.transaction().execute(async (trx) => {
          const { rows } = await sql<{ project_id: string; session_id: string; id: string }>`
            update runs set state = 'died', reason = 'host_lost', error = ${error}::jsonb, ended_at = now()
            where state in ('starting', 'running', 'waiting') and (project_id, session_id) in (${given})
            returning project_id, session_id, id`.execute(trx)
          await sql`
            update sessions set runner_id = null, epoch = epoch + 1
            where (project_id, id) in (${given})`.execute(trx)
          return rows.map((row) => ({ projectId: row.project_id, sessionId: row.session_id, runId: row.id }))
        }),
      this.patience,
    )
  }
}

function owned(row: Row): OwnedRow {
  const state = claimedSession(row)
  const claimed = row.run_id === null ? undefined : claimedOf(row, state)
  return {
    projectId: row.project_id,
    sessionId: row.id,
    epoch: state.epoch,
    run: row.run_id === null ? undefined : { id: row.run_id, state: row.run_state },
    state,
    claimed,
  }
}

function claimedOf(row: Row, session: ClaimedSession): ClaimedRun {
  return {
    epoch: session.epoch,
    spec: row.spec,
    framework: row.framework,
    createdAtMs: Date.now() - Number(row.age_ms),
    timings: row.timings,
    attempts: row.attempts,
    session,
  }
}
