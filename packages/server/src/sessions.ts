import { createHash } from 'node:crypto'
import { forgetCheckpoints, pinUpload, type Database, type NewSessionRow, type Schema } from '@vm0/backends'
import { activeStates, canonicalJson, standardTemplate, Vm0Error, type SessionView } from '@vm0/contract'
import type { Selectable } from 'kysely'
import { uuidv7 } from 'uuidv7'
import type { ServerOptions } from './options.js'
import { findCheckpoint } from './checkpoints.js'
import type { Templates } from './templates/index.js'
import { sessionView } from './views.js'

export const bodyHash = (body: object): string => createHash('sha256').update(canonicalJson(body)).digest('hex')

type Row = Selectable<Schema['sessions']>

export interface NewSession {
  id?: string | undefined
  /** The checkpoint that it begins at. */
  from?: string | undefined
  template?: string | undefined
  resources?: object | undefined
  labels?: object | undefined
  workspaceUpload?: string | undefined
  kind?: 'session' | 'template_build'
}

export class Sessions {
  constructor(
    private readonly options: ServerOptions,
    private readonly templates: Templates,
  ) {}

  /** Makes the session, or gives the one that the same request made before. */
  async create(projectId: string, body: NewSession, db?: Database['db']): Promise<string> {
    if (!db) return this.options.database.db.transaction().execute((trx) => this.create(projectId, body, trx))
    const { id = uuidv7(), ...rest } = body
    const hash = bodyHash(rest)
    const origin = body.from === undefined ? undefined : await this.originOf(projectId, body.from, body, db)
    const given = origin ? undefined : await this.templates.resolve(projectId, body.template ?? standardTemplate, db)
    const template = origin?.template ?? given?.digest
    if (body.workspaceUpload) await this.requireUpload(projectId, body.workspaceUpload, db)
    const inserted = await db
      .insertInto('sessions')
      .values({
        project_id: projectId,
        id,
        template,
        body_hash: hash,
        resources: JSON.stringify(
          origin ? (body.resources ?? origin.resources) : { ...given?.resources, ...body.resources },
        ),
        ...(body.kind ? { kind: body.kind } : {}),
        labels: JSON.stringify(body.labels ?? origin?.labels ?? {}),
        workspace_upload: body.workspaceUpload ?? null,
        head: body.from ?? null,
        origin: body.from ?? null,
        framework: origin?.framework ?? null,
        agent_session_id: origin?.agent_session_id ?? null,
      } as never)
      .onConflict((oc) => oc.columns(['project_id', 'id']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (inserted) return id
    const existing = await this.row(projectId, id, db)
    if (existing.body_hash !== hash)
      throw new Vm0Error('CONFLICT', `session ${id} exists and was made by another request`)
    return id
  }

  /** The row of one that begins with nothing but the built-in template: nothing has to be looked up for it. */
  plain(body: NewSession): NewSessionRow | undefined {
    const { id: _, ...rest } = body
    const { from, template, workspaceUpload, kind, resources = {}, labels = {} } = rest
    if (from ?? template ?? workspaceUpload ?? kind) return undefined
    return { template: this.templates.standard, resources, labels, bodyHash: bodyHash(rest) }
  }

  /** What a session takes over from the checkpoint that it begins at, and from that one's session. */
  private async originOf(projectId: string, id: string, { template, workspaceUpload }: NewSession, db: Database['db']) {
    if (template !== undefined || workspaceUpload !== undefined)
      throw new Vm0Error(
        'INVALID_REQUEST',
        `a session that begins at a checkpoint has its template and files; expected no ${template === undefined ? 'workspaceUpload' : 'template'} beside from`,
      )
    // Held until the session is there: who deletes the checkpoint's session then finds that it is in use.
    const checkpoint = await findCheckpoint(projectId, id, db, true)
    const { resources, labels, template: ofSession } = await this.find(projectId, checkpoint.session_id, db)
    return { ...checkpoint, template: checkpoint.template ?? ofSession, resources, labels }
  }

  async requireUpload(projectId: string, digest: string, db: Database['db']): Promise<void> {
    if (!(await pinUpload(db, { projectId, digest })))
      throw new Vm0Error(
        'WORKSPACE_INVALID',
        `the workspace upload ${digest} does not exist; expected it to be sent by PUT /v1/uploads/${digest} before`,
      )
  }

  /** The row of a session that is open. */
  async row(projectId: string, id: string, db: Database['db'] = this.options.database.db): Promise<Row> {
    return open(await this.find(projectId, id, db))
  }

  /** The same; until the transaction ends nobody else gives the session a run, or deletes it. */
  async lock(projectId: string, id: string, trx: Database['db']): Promise<Row> {
    return open(await this.find(projectId, id, trx, true))
  }

  /** The row, also of a session that was deleted. */
  async find(projectId: string, id: string, db: Database['db'] = this.options.database.db, lock = false): Promise<Row> {
    let query = db.selectFrom('sessions').selectAll().where('project_id', '=', projectId).where('id', '=', id)
    if (lock) query = query.forUpdate()
    const row = await query.executeTakeFirst()
    if (!row) throw new Vm0Error('NOT_FOUND', `session ${id} does not exist in this project`)
    return row
  }

  /** The run that keeps the session from being idle. */
  async activeRun(projectId: string, sessionId: string, db: Database['db'], but?: string): Promise<string | undefined> {
    let query = db
      .selectFrom('runs')
      .select('id')
      .where('project_id', '=', projectId)
      .where('session_id', '=', sessionId)
      .where('state', 'in', activeStates)
    if (but) query = query.where('id', '!=', but)
    return (await query.limit(1).executeTakeFirst())?.id
  }

  /** Throws SESSION_BUSY where a run keeps it from being idle. */
  async requireIdle(projectId: string, id: string, db: Database['db'] = this.options.database.db): Promise<void> {
    const busy = await this.activeRun(projectId, id, db)
    if (busy) throw new Vm0Error('SESSION_BUSY', `session ${id} has the run ${busy}; expected it to be idle`)
  }

  async get(projectId: string, id: string): Promise<SessionView> {
    const row = await this.row(projectId, id)
    const runs = await this.options.database.db
      .selectFrom('runs')
      .select('state')
      .where('project_id', '=', projectId)
      .where('session_id', '=', id)
      .execute()
    return sessionView(row, runs)
  }

  async list(projectId: string, { limit, before }: { limit: number; before?: string | undefined }) {
    const { db } = this.options.database
    let query = db
      .selectFrom('sessions')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('state', '=', 'open')
      .where('kind', '=', 'session')
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (before) query = query.where('position', '<', Number((await this.find(projectId, before)).position))
    const rows = await query.execute()
    const page = rows.slice(0, limit)
    const runs =
      page.length === 0
        ? []
        : await db
            .selectFrom('runs')
            .select(['session_id', 'state'])
            .where('project_id', '=', projectId)
            .where(
              'session_id',
              'in',
              page.map(({ id }) => id),
            )
            .execute()
    return {
      items: page.map((row) =>
        sessionView(
          row,
          runs.filter((run) => run.session_id === row.id),
        ),
      ),
      next: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
    }
  }

  /**
   * Deletes the session with what it holds: logs, prompts, answers; its layers are collected when nothing
   * refers to them. To do it again changes nothing.
   */
  async remove(projectId: string, id: string): Promise<void> {
    await this.options.database.db.transaction().execute(async (trx) => {
      const row = await this.find(projectId, id, trx, true)
      if (row.state === 'deleted') return
      await this.requireIdle(projectId, id, trx)
      await trx
        .updateTable('sessions')
        .set({ state: 'deleted', head: null })
        .where('project_id', '=', projectId)
        .where('id', '=', id)
        .execute()
      await trx
        .updateTable('runs')
        .set({ spec: Buffer.alloc(0), result_text: null, output: null })
        .where('project_id', '=', projectId)
        .where('session_id', '=', id)
        .execute()
      // What forks of it stand on stays.
      await forgetCheckpoints(trx, { projectId, sessionId: id })
      // Before the commit: a crash between the two leaves a session that can be deleted again, not logs that nobody deletes.
      await this.options.eventLog.removeSession({ projectId, sessionId: id })
    })
    await this.options.runner.discard({ projectId, sessionId: id })
  }
}

function open(row: Row): Row {
  if (row.state === 'deleted') throw new Vm0Error('SESSION_DELETED', `session ${row.id} was deleted`)
  return row
}
