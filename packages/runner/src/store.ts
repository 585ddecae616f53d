import {
  claimedSession,
  nextEpoch,
  overLostConnections,
  storageUnderQuota,
  type ClaimedSessionRow,
  type Database,
  type Schema,
} from '@vm0/backends'
import type {
  ClaimedRun,
  ClaimedSession,
  LostProcesses,
  RunRef,
  RunState,
  SessionRef,
  Timings,
  Usage,
} from '@vm0/contract'
import { runTransitions } from '@vm0/contract'
import { checkpointColumns, type SavedCheckpoint } from '@vm0/checkpoints'
import { sql, type Selectable } from 'kysely'

type ClaimedRow = ClaimedSessionRow &
  Pick<Selectable<Schema['runs']>, 'spec' | 'framework' | 'timings'> & { age_ms: number | string }

export interface RunEnd {
  state: 'succeeded' | 'failed' | 'cancelled' | 'died'
  reason: string | null
  text: Buffer | null
  output: Buffer | null
  usage: Usage
  costUsd: number
  timings: Timings
  error: { code: string; message: string; hint: string; details?: Record<string, unknown> } | null
}

/**
 * How long ago a run was created, by the database's clock alone: that it and this host's differ, or that either was set, must
 * not count as time of the run.
 */
export const ageMs = sql<number | string>`extract(epoch from now() - runs.created_at)::float8 * 1000`

/** States from which the transition table lets a run come to `to`. */
function before(to: RunState): RunState[] {
  return (Object.keys(runTransitions) as RunState[]).filter((from) => runTransitions[from].includes(to))
}

/**
 * The rows that a runner writes. Each statement that changes a session's state carries the epoch under which the runner
 * owns the session, so that a runner that was presumed dead can't overwrite anything.
 *
 * What is done when the connection is lost in the middle can't be known: each of these is done again, and finds what it did.
 */
export class RunnerStore {
  constructor(
    private readonly database: Database,
    readonly runnerId: string,
    /** Aborts when a database that can't be reached is not to be waited for any longer. */
    private readonly patience: AbortSignal,
  ) {}

  /**
   * Takes the session (a change of owner raises its epoch) and the run, in one statement: the only one before the prompt is
   * sent. Undefined when the run is no longer queued.
   */
  async claimRun(run: RunRef): Promise<ClaimedRun | undefined> {
    return overLostConnections((attempt) => this.claim(run, attempt), this.patience)
  }

  /** The same for a run whose row is made as a claimed one by `accept`: where that is not known to have been done, it is looked for. */
  async claimMade(run: RunRef, accept: () => Promise<ClaimedRun | undefined>): Promise<ClaimedRun | undefined> {
    return overLostConnections((attempt) => (attempt === 1 ? accept() : this.claim(run, attempt)), this.patience)
  }

  private async claim({ projectId, sessionId, runId }: RunRef, attempt: number): Promise<ClaimedRun | undefined> {
    // Tried again, it may find that the first try had been done.
    const own = attempt === 1 ? sql`false` : sql`runs.state = 'starting' and runs.epoch = owned.epoch`
    const askedAtMs = Date.now()
    const { rows } = await sql<ClaimedRow>`
      with owned as (
        update sessions
        set runner_id = ${this.runnerId},
            epoch = ${nextEpoch(this.runnerId)}
        where project_id = ${projectId} and id = ${sessionId} and state = 'open'
        returning epoch, template, head, agent_session_id, resources, workspace_upload, lost_processes
      ), claimed as (
        update runs set state = 'starting', epoch = owned.epoch, started_at = now() from owned
        where runs.project_id = ${projectId} and runs.id = ${runId} and (runs.state = 'queued' or (${own}))
        returning runs.spec, runs.framework, ${ageMs} as age_ms, runs.timings
      )
      select * from owned, claimed`.execute(this.database.db)
    const [row] = rows
    if (!row) return undefined
    return {
      epoch: Number(row.epoch),
      spec: row.spec,
      framework: row.framework,
      createdAtMs: askedAtMs - Number(row.age_ms),
      timings: row.timings as Partial<Timings>,
      attempts: 1,
      session: claimedSession(row),
    }
  }

  /** Takes the session for a command or a file operation; undefined when it doesn't exist or was deleted. */
  async claimSession(session: SessionRef): Promise<number | undefined> {
    return this.transaction((trx) => this.own(trx, session))
  }

  private async own(trx: Database['db'], session: SessionRef): Promise<number | undefined> {
    const row = await trx
      .updateTable('sessions')
      .set({
        runner_id: this.runnerId,
        epoch: nextEpoch(this.runnerId),
      })
      .where('project_id', '=', session.projectId)
      .where('id', '=', session.sessionId)
      .where('state', '=', 'open')
      .returning('epoch')
      .executeTakeFirst()
    return row && Number(row.epoch)
  }

  session(session: SessionRef): Promise<ClaimedSession | undefined> {
    return overLostConnections(() => this.readSession(session), this.patience)
  }

  /** What ran in its sandbox, which is given up. */
  async recordLostProcesses(session: SessionRef, epoch: number, lost: LostProcesses | null): Promise<void> {
    await this.database.db
      .updateTable('sessions')
      .set({ lost_processes: lost === null ? null : JSON.stringify(lost) })
      .where('project_id', '=', session.projectId)
      .where('id', '=', session.sessionId)
      .where('epoch', '=', epoch)
      .execute()
  }

  /** What the session's project stores and may store; undefined where it has no quota. */
  storageUnderQuota({ projectId }: SessionRef): ReturnType<typeof storageUnderQuota> {
    return storageUnderQuota(this.database.db, projectId)
  }

  /** What the session's last run was done with; null before the first. */
  async framework({ projectId, sessionId }: SessionRef): Promise<string | null> {
    const row = await this.database.db
      .selectFrom('sessions')
      .select('framework')
      .where('project_id', '=', projectId)
      .where('id', '=', sessionId)
      .executeTakeFirst()
    return row?.framework ?? null
  }

  private async readSession(session: SessionRef): Promise<ClaimedSession | undefined> {
    const row = await this.database.db
      .selectFrom('sessions')
      .selectAll()
      .where('project_id', '=', session.projectId)
      .where('id', '=', session.sessionId)
      .where('state', '=', 'open')
      .executeTakeFirst()
    return row && claimedSession(row)
  }

  /** `starting` → `running`, with the versions that are known only now. */
  async markRunning(run: RunRef, epoch: number, agentVersion: string): Promise<boolean> {
    return overLostConnections(async (attempt) => {
      const result = await this.database.db
        .updateTable('runs')
        .set({ state: 'running', agent_version: agentVersion })
        .where('project_id', '=', run.projectId)
        .where('id', '=', run.runId)
        .where('epoch', '=', epoch)
        .where('state', 'in', attempt === 1 ? before('running') : [...before('running'), 'running'])
        .executeTakeFirst()
      return Number(result.numUpdatedRows) === 1
    }, this.patience)
  }

  /** The run is taken up again; false where its session has another owner. */
  async countAttempt(run: RunRef, epoch: number, attempts: number): Promise<boolean> {
    return overLostConnections(async () => {
      const result = await this.database.db
        .updateTable('runs')
        .set({ attempts, state: 'running' })
        .where('project_id', '=', run.projectId)
        .where('id', '=', run.runId)
        .where('epoch', '=', epoch)
        .where('state', 'in', [...before('succeeded'), 'waiting'])
        .executeTakeFirst()
      return Number(result.numUpdatedRows) === 1
    }, this.patience)
  }

  /** `running` ⇄ `waiting`: a person is to answer, or has answered. */
  async markWaiting(run: RunRef, epoch: number, waits: boolean): Promise<void> {
    await overLostConnections(async () => {
      await this.database.db
        .updateTable('runs')
        .set({ state: waits ? 'waiting' : 'running' })
        .where('project_id', '=', run.projectId)
        .where('id', '=', run.runId)
        .where('epoch', '=', epoch)
        .where('state', '=', waits ? 'running' : 'waiting')
        .execute()
    }, this.patience)
  }

  /** The run's outcome and, where there is a checkpoint, the session's head: one transaction, void when the epoch has moved on. */
  async endRun(run: RunRef, epoch: number, end: RunEnd, saved: SavedCheckpoint | null): Promise<boolean> {
    return this.transaction(async (trx, attempt) => {
      if (attempt > 1 && (await this.hasEnded(trx, run, epoch, end))) return true
      if (saved && !(await this.moveHead(trx, run, epoch, saved))) return false
      const result = await trx
        .updateTable('runs')
        .set({
          state: end.state,
          reason: end.reason,
          result_text: end.text,
          output: end.output,
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

  /** Only this runner writes under the epoch: an end that is there is the one that it wrote. */
  private async hasEnded(trx: Database['db'], run: RunRef, epoch: number, end: RunEnd): Promise<boolean> {
    const row = await trx
      .selectFrom('runs')
      .select('state')
      .where('project_id', '=', run.projectId)
      .where('id', '=', run.runId)
      .where('epoch', '=', epoch)
      .executeTakeFirst()
    return row?.state === end.state
  }

  /** `toolCalls`: what is to be told of those that led to it, encrypted. */
  commitHead(
    session: SessionRef,
    epoch: number,
    saved: SavedCheckpoint,
    toolCalls: Buffer | null = null,
  ): Promise<boolean> {
    return this.transaction((trx) => this.moveHead(trx, session, epoch, saved, toolCalls))
  }

  private transaction<T>(work: (trx: Database['db'], attempt: number) => Promise<T>): Promise<T> {
    return overLostConnections(
      (attempt) => this.database.db.transaction().execute((trx) => work(trx, attempt)),
      this.patience,
    )
  }

  private async moveHead(
    trx: Database['db'],
    session: SessionRef,
    epoch: number,
    saved: SavedCheckpoint,
    toolCalls: Buffer | null = null,
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
        ...checkpointColumns(saved.id, manifest),
        size_bytes: saved.sizeBytes,
        changed_files: saved.changedFiles,
        tool_calls: toolCalls,
      } as never)
      .onConflict((oc) => oc.columns(['project_id', 'id']).doNothing())
      .execute()
    return true
  }
}
