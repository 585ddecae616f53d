import type { Database } from '@vm0/backends'
import type { RunRef, RunState, SessionRef, Timings, Usage } from '@vm0/contract'
import { runTransitions } from '@vm0/contract'
import type { SavedCheckpoint } from '@vm0/checkpoints'
import { sql } from 'kysely'

export interface ClaimedRun {
  epoch: number
  spec: Buffer
  framework: string
  createdAtMs: number
}

export interface SessionState {
  template: string
  head: string | null
  agentSessionId: string | null
  resources: Record<string, number>
  workspaceUpload: string | null
  epoch: number
}

export interface RunEnd {
  state: 'succeeded' | 'failed' | 'cancelled' | 'died'
  reason: string | null
  text: Buffer | null
  usage: Usage
  costUsd: number
  timings: Timings
  error: { code: string; message: string; hint: string; details?: Record<string, unknown> } | null
}

/** States from which the transition table lets a run come to `to`. */
function before(to: RunState): RunState[] {
  return (Object.keys(runTransitions) as RunState[]).filter((from) => runTransitions[from].includes(to))
}

/**
 * The rows that a runner writes. Each statement that changes a session's state carries the epoch under which the runner
 * owns the session, so that a runner that was presumed dead can't overwrite anything.
 */
export class RunnerStore {
  constructor(
    private readonly database: Database,
    readonly runnerId: string,
  ) {}

  /** Takes the session (a change of owner raises its epoch) and the run, in one transaction; undefined when it is no longer queued. */
  async claimRun(run: RunRef): Promise<ClaimedRun | undefined> {
    return this.database.db.transaction().execute(async (trx) => {
      const epoch = await this.own(trx, run)
      if (epoch === undefined) return undefined
      const row = await trx
        .updateTable('runs')
        .set({ state: 'starting', epoch, started_at: sql<Date>`now()` })
        .where('project_id', '=', run.projectId)
        .where('id', '=', run.runId)
        .where('state', '=', 'queued')
        .returning(['spec', 'framework', 'created_at'])
        .executeTakeFirst()
      return (
        row && {
          epoch,
          spec: Buffer.from(row.spec),
          framework: row.framework,
          createdAtMs: new Date(row.created_at).getTime(),
        }
      )
    })
  }

  /** Takes the session for a command or a file operation; undefined when it doesn't exist or was deleted. */
  async claimSession(session: SessionRef): Promise<number | undefined> {
    return this.database.db.transaction().execute((trx) => this.own(trx, session))
  }

  private async own(trx: Database['db'], session: SessionRef): Promise<number | undefined> {
    const row = await trx
      .updateTable('sessions')
      .set({
        runner_id: this.runnerId,
        epoch: sql<number>`epoch + case when runner_id is distinct from ${this.runnerId} then 1 else 0 end`,
      })
      .where('project_id', '=', session.projectId)
      .where('id', '=', session.sessionId)
      .where('state', '=', 'open')
      .returning('epoch')
      .executeTakeFirst()
    return row && Number(row.epoch)
  }

  async session(session: SessionRef): Promise<SessionState | undefined> {
    const row = await this.database.db
      .selectFrom('sessions')
      .selectAll()
      .where('project_id', '=', session.projectId)
      .where('id', '=', session.sessionId)
      .where('state', '=', 'open')
      .executeTakeFirst()
    if (!row) return undefined
    return {
      template: row.template,
      head: row.head,
      agentSessionId: row.agent_session_id,
      resources: row.resources as Record<string, number>,
      workspaceUpload: row.workspace_upload,
      epoch: Number(row.epoch),
    }
  }

  /** `starting` → `running`, with the versions that are known only now. */
  async markRunning(run: RunRef, epoch: number, agentVersion: string): Promise<boolean> {
    const result = await this.database.db
      .updateTable('runs')
      .set({ state: 'running', agent_version: agentVersion })
      .where('project_id', '=', run.projectId)
      .where('id', '=', run.runId)
      .where('epoch', '=', epoch)
      .where('state', 'in', before('running'))
      .executeTakeFirst()
    return Number(result.numUpdatedRows) === 1
  }

  /** The run's outcome and, where there is a checkpoint, the session's head: one transaction, void when the epoch has moved on. */
  async endRun(run: RunRef, epoch: number, end: RunEnd, saved: SavedCheckpoint | null): Promise<boolean> {
    return this.database.db.transaction().execute(async (trx) => {
      if (saved && !(await this.moveHead(trx, run, epoch, saved))) return false
      const result = await trx
        .updateTable('runs')
        .set({
          state: end.state,
          reason: end.reason,
          result_text: end.text,
          usage: JSON.stringify(end.usage),
          cost_usd: end.costUsd,
          timings: JSON.stringify(end.timings),
          checkpoint: saved?.id ?? null,
          error: end.error ? JSON.stringify(end.error) : null,
          ended_at: sql<Date>`now()`,
        } as never)
        .where('project_id', '=', run.projectId)
        .where('id', '=', run.runId)
        .where('epoch', '=', epoch)
        .where('state', 'in', before(end.state))
        .executeTakeFirst()
      return Number(result.numUpdatedRows) === 1
    })
  }

  async commitHead(session: SessionRef, epoch: number, saved: SavedCheckpoint): Promise<boolean> {
    return this.database.db.transaction().execute((trx) => this.moveHead(trx, session, epoch, saved))
  }

  private async moveHead(
    trx: Database['db'],
    session: SessionRef,
    epoch: number,
    saved: SavedCheckpoint,
  ): Promise<boolean> {
    const { manifest } = saved
    const moved = await trx
      .updateTable('sessions')
      .set({
        head: saved.id,
        updated_at: sql<Date>`now()`,
        ...(manifest.conversation
          ? { framework: manifest.conversation.framework, agent_session_id: manifest.conversation.agentSessionId }
          : {}),
      } as never)
      .where('project_id', '=', session.projectId)
      .where('id', '=', session.sessionId)
      .where('epoch', '=', epoch)
      .where('state', '=', 'open')
      .executeTakeFirst()
    if (Number(moved.numUpdatedRows) !== 1) return false
    await trx
      .insertInto('checkpoints')
      .values({
        project_id: session.projectId,
        id: saved.id,
        session_id: session.sessionId,
        run_id: manifest.runId,
        parent: manifest.parent,
        cause: manifest.cause,
        outcome: manifest.outcome,
        epoch,
        size_bytes: saved.sizeBytes,
      } as never)
      .onConflict((oc) => oc.columns(['project_id', 'id']).doNothing())
      .execute()
    return true
  }

  /**
   * After a crash: every session that this runner owned gets a new epoch, so that nothing of the old process can be
   * committed any more, and its runs at work end as `died`. Queued runs stay queued. Returns the runs that died.
   */
  async recoverLost(
    error: NonNullable<RunEnd['error']>,
  ): Promise<(RunRef & { epoch: number; timings: Timings | Record<string, never> })[]> {
    return this.database.db.transaction().execute(async (trx) => {
      const sessions = await trx
        .updateTable('sessions')
        .set({ runner_id: null, epoch: sql<number>`epoch + 1` } as never)
        .where('runner_id', '=', this.runnerId)
        .returning(['project_id', 'id', 'epoch'])
        .execute()
      const lost: (RunRef & { epoch: number; timings: Timings | Record<string, never> })[] = []
      for (const session of sessions) {
        const runs = await trx
          .updateTable('runs')
          .set({
            state: 'died',
            reason: 'host_lost',
            error: JSON.stringify(error),
            ended_at: sql<Date>`now()`,
          } as never)
          .where('project_id', '=', session.project_id)
          .where('session_id', '=', session.id)
          .where('state', 'in', ['starting', 'running', 'waiting'])
          .returning(['id', 'timings'])
          .execute()
        for (const run of runs) {
          lost.push({
            projectId: session.project_id,
            sessionId: session.id,
            runId: run.id,
            epoch: Number(session.epoch),
            timings: run.timings as Timings,
          })
        }
      }
      return lost
    })
  }
}
