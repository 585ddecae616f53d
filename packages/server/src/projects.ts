import { projectStorage, type Database, type Schema } from '@vm0/backends'
import { Vm0Error, type Capture, type CreateProject, type ProjectView, type UpdateProject } from '@vm0/contract'
import type { Selectable } from 'kysely'
import { time } from './views.js'

type Row = Selectable<Schema['projects']>

/** Projects are the tenants: nothing of one is visible to a key of another. */
export class Projects {
  constructor(private readonly database: Database) {}

  /** Makes the project, or gives the one that the same request made before. */
  async create({ id, name = id, quotaBytes = null }: CreateProject): Promise<ProjectView> {
    const { db } = this.database
    await db
      .insertInto('projects')
      .values({ id, name, quota_bytes: quotaBytes })
      .onConflict((oc) => oc.column('id').doNothing())
      .execute()
    const row = await this.row(id)
    if (row.name !== name)
      throw new Vm0Error('CONFLICT', `project ${id} exists with the name ${JSON.stringify(row.name)}`)
    if (bytesOf(row.quota_bytes) !== quotaBytes)
      throw new Vm0Error('CONFLICT', `project ${id} exists with another quota: ${row.quota_bytes ?? 'none'}`, {
        hint: `Change it: \`vm0 projects set ${id} --quota SIZE\`.`,
      })
    return this.view(row)
  }

  async update(id: string, { name, quotaBytes, capture }: UpdateProject): Promise<ProjectView> {
    const row = await this.row(id)
    await this.database.db
      .updateTable('projects')
      .set({
        name: name ?? row.name,
        quota_bytes: quotaBytes === undefined ? bytesOf(row.quota_bytes) : quotaBytes,
        capture: capture ?? row.capture,
      })
      .where('id', '=', id)
      .execute()
    return this.view(await this.row(id))
  }

  async list({ limit, before }: { limit: number; before?: string | undefined }) {
    let query = this.database.db
      .selectFrom('projects')
      .selectAll()
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (before) query = query.where('position', '<', Number((await this.row(before)).position))
    const rows = await query.execute()
    const items = await Promise.all(rows.slice(0, limit).map((row) => this.view(row)))
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  private async view(row: Row): Promise<ProjectView> {
    const stored = await projectStorage(this.database.db, row.id)
    const { id, name, created_at: createdAt } = row
    const capture = row.capture as Capture
    return { id, name, capture, createdAt: time(createdAt), quotaBytes: null, storedBytes: 0, ...stored }
  }

  private async row(id: string): Promise<Row> {
    const row = await this.database.db.selectFrom('projects').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row) throw new Vm0Error('NOT_FOUND', `project ${id} does not exist`)
    return row
  }
}

const bytesOf = (bytes: Row['quota_bytes']): number | null => (bytes === null ? null : Number(bytes))
