import type { Database, Schema, SecretsPort } from '@vm0/backends'
import { Vm0Error, type CheckpointCause, type CheckpointView } from '@vm0/contract'
import { sql, type Selectable } from 'kysely'
import type { ServerOptions } from './options.js'
import type { Sessions } from './sessions.js'
import { time } from './views.js'

type Row = Selectable<Schema['checkpoints']>

/** The checkpoints of sessions: listed, named, gone back to. A new session from one is made by `Sessions.create`. */
export class Checkpoints {
  constructor(
    private readonly options: ServerOptions,
    private readonly sessions: Sessions,
  ) {}

  /** By its id, or by as much of its beginning as names one only. */
  async get(projectId: string, given: string): Promise<CheckpointView> {
    const begin = given.startsWith('sha256:') ? given : `sha256:${given}`
    const found = await this.options.database.db
      .selectFrom('checkpoints')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('id', '>=', begin)
      .where('id', '<=', `${begin}g`)
      .limit(2)
      .execute()
    const [row, other] = found
    if (!row || other)
      throw new Vm0Error(
        'CHECKPOINT_NOT_FOUND',
        `${other ? 'more than one' : 'no'} checkpoint of this project begins with ${begin}; expected one`,
      )
    return (await this.views(projectId, [row]))[0] as CheckpointView
  }

  /** Those of the session, and of a fork also the one that it began with; the newest first. */
  async list(projectId: string, sessionId: string, { limit, before }: { limit: number; before?: string | undefined }) {
    const { db } = this.options.database
    const { origin } = await this.sessions.row(projectId, sessionId)
    let query = db
      .selectFrom('checkpoints')
      .selectAll()
      .where('project_id', '=', projectId)
      .where((eb) =>
        origin ? eb.or([eb('session_id', '=', sessionId), eb('id', '=', origin)]) : eb('session_id', '=', sessionId),
      )
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (before) query = query.where('position', '<', Number((await findCheckpoint(projectId, before, db)).position))
    const rows = await query.execute()
    const page = rows.slice(0, limit)
    return {
      items: await this.views(projectId, page),
      next: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
    }
  }

  /** Saves the session as it is now. Throws SESSION_BUSY while a run is at work. */
  async create(projectId: string, sessionId: string, name: string | undefined): Promise<CheckpointView> {
    await this.sessions.requireIdle(projectId, sessionId)
    await this.options.runner.save({ projectId, sessionId }, name)
    const { head } = await this.sessions.row(projectId, sessionId)
    if (!head)
      throw new Vm0Error('CHECKPOINT_NOT_FOUND', `session ${sessionId} has nothing to save: it never had a sandbox`)
    return this.get(projectId, head)
  }

  /**
   * The session goes on from one of its checkpoints: files, software and conversation. What it has now is saved first, so
   * that this can be undone. Throws SESSION_BUSY, CHECKPOINT_NOT_FOUND, or CHECKPOINT_OF_ANOTHER_SESSION.
   */
  async rollback(projectId: string, sessionId: string, id: string): Promise<void> {
    const { db } = this.options.database
    const target = await findCheckpoint(projectId, id, db)
    await this.requireOwn(target, projectId, sessionId, db)
    await this.sessions.requireIdle(projectId, sessionId)
    await this.options.runner.close({ projectId, sessionId })
    await db.transaction().execute(async (trx) => {
      await this.sessions.lock(projectId, sessionId, trx)
      await this.sessions.requireIdle(projectId, sessionId, trx)
      await this.requireOwn(await findCheckpoint(projectId, id, trx), projectId, sessionId, trx)
      await trx
        .updateTable('sessions')
        .set({
          head: target.id,
          framework: target.framework,
          agent_session_id: target.agent_session_id,
          updated_at: sql<Date>`now()`,
          // Whoever holds a sandbox of the state before can't save it over this one.
          runner_id: null,
          epoch: sql<number>`epoch + 1`,
          ...(target.template ? { template: target.template } : {}),
        } as never)
        .where('project_id', '=', projectId)
        .where('id', '=', sessionId)
        .execute()
    })
    await this.options.runner.discard({ projectId, sessionId })
  }

  private async requireOwn(target: Row, projectId: string, sessionId: string, db: Database['db']): Promise<void> {
    const { origin } = await this.sessions.row(projectId, sessionId, db)
    if (target.session_id !== sessionId && target.id !== origin)
      throw new Vm0Error(
        'CHECKPOINT_OF_ANOTHER_SESSION',
        `checkpoint ${target.id} is one of session ${target.session_id}; expected one of ${sessionId}`,
      )
  }

  private async views(projectId: string, rows: readonly Row[]): Promise<CheckpointView[]> {
    if (rows.length === 0) return []
    const ids = rows.map(({ id }) => id)
    const using = await this.options.database.db
      .selectFrom('sessions')
      .select(['id', 'head', 'origin'])
      .where('project_id', '=', projectId)
      .where('state', '=', 'open')
      .where((eb) => eb.or([eb('head', 'in', ids), eb('origin', 'in', ids)]))
      .execute()
    return rows.map((row) => ({
      id: row.id,
      sessionId: row.session_id,
      runId: row.run_id,
      parent: row.parent,
      cause: row.cause as CheckpointCause,
      outcome: row.outcome,
      name: row.name,
      toolCalls: toolCalls(row, this.options.secrets),
      changedFiles: Number(row.changed_files),
      sizeBytes: Number(row.size_bytes),
      isHead: using.some(({ id, head }) => id === row.session_id && head === row.id),
      forks: using.filter(({ origin }) => origin === row.id).map(({ id }) => id),
      createdAt: time(row.created_at),
    }))
  }
}

/** Of a session that is open; also of a deleted one, where a fork stands on it. */
export async function findCheckpoint(projectId: string, id: string, db: Database['db'], hold = false): Promise<Row> {
  let query = db.selectFrom('checkpoints').selectAll().where('project_id', '=', projectId).where('id', '=', id)
  if (hold) query = query.forKeyShare()
  const row = await query.executeTakeFirst()
  if (!row) throw new Vm0Error('CHECKPOINT_NOT_FOUND', `checkpoint ${id} does not exist in this project`)
  return row
}

function toolCalls({ tool_calls: sealed }: Row, secrets: SecretsPort): CheckpointView['toolCalls'] {
  if (!sealed) return []
  const calls = JSON.parse(secrets.open(sealed)) as CheckpointView['toolCalls']
  return calls.map(({ id, name, title }) => ({ id, name, title }))
}
