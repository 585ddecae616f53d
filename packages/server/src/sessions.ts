import { createHash } from 'node:crypto'
import type { Database } from '@vm0/backends'
import { canonicalJson, Vm0Error, type SessionView } from '@vm0/contract'
import { uuidv7 } from 'uuidv7'
import type { ServerOptions } from './options.js'
import { sessionView } from './views.js'

export const bodyHash = (body: object): string => createHash('sha256').update(canonicalJson(body)).digest('hex')

export interface NewSession {
  id?: string | undefined
  template?: string | undefined
  resources?: object | undefined
  labels?: object | undefined
  workspaceUpload?: string | undefined
}

export class Sessions {
  constructor(private readonly options: ServerOptions) {}

  /** Makes the session, or gives the one that the same request made before. */
  async create(projectId: string, body: NewSession, db: Database['db'] = this.options.database.db): Promise<string> {
    const { id = uuidv7(), ...rest } = body
    const hash = bodyHash(rest)
    const template = this.options.resolveTemplate(body.template ?? 'standard')
    if (body.workspaceUpload) await this.requireUpload(projectId, body.workspaceUpload, db)
    const inserted = await db
      .insertInto('sessions')
      .values({
        project_id: projectId,
        id,
        template,
        body_hash: hash,
        resources: JSON.stringify(body.resources ?? {}),
        labels: JSON.stringify(body.labels ?? {}),
        workspace_upload: body.workspaceUpload ?? null,
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

  async requireUpload(projectId: string, digest: string, db: Database['db'] = this.options.database.db): Promise<void> {
    const row = await db
      .selectFrom('uploads')
      .select('digest')
      .where('project_id', '=', projectId)
      .where('digest', '=', digest)
      .executeTakeFirst()
    if (!row)
      throw new Vm0Error(
        'WORKSPACE_INVALID',
        `the workspace upload ${digest} does not exist; expected it to be sent by PUT /v1/uploads/${digest} before`,
      )
  }

  /** The row of a session that is open. */
  async row(projectId: string, id: string, db: Database['db'] = this.options.database.db) {
    const row = await db
      .selectFrom('sessions')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
    if (!row) throw new Vm0Error('NOT_FOUND', `session ${id} does not exist in this project`)
    if (row.state === 'deleted') throw new Vm0Error('SESSION_DELETED', `session ${id} was deleted`)
    return row
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
      .orderBy('id', 'desc')
      .limit(limit + 1)
    if (before) query = query.where('id', '<', before)
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

  /** Deletes the session with its logs; its layers stay until nothing refers to them. */
  async remove(projectId: string, id: string): Promise<void> {
    await this.row(projectId, id)
    const { db } = this.options.database
    const busy = await db
      .selectFrom('runs')
      .select('id')
      .where('project_id', '=', projectId)
      .where('session_id', '=', id)
      .where('state', 'in', ['queued', 'starting', 'running', 'waiting'])
      .executeTakeFirst()
    if (busy) throw new Vm0Error('SESSION_BUSY', `session ${id} has the run ${busy.id}; expected it to be idle`)
    await db
      .updateTable('sessions')
      .set({ state: 'deleted', head: null })
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .execute()
    await this.options.runner.discard({ projectId, sessionId: id })
    for (const run of await db
      .selectFrom('runs')
      .select('id')
      .where('project_id', '=', projectId)
      .where('session_id', '=', id)
      .execute()) {
      await this.options.eventLog.remove({ projectId, sessionId: id, runId: run.id })
    }
  }
}
