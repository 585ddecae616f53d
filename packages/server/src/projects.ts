import type { Database, Schema } from '@vm0/backends'
import { Vm0Error, type CreateProject, type ProjectView } from '@vm0/contract'
import type { Selectable } from 'kysely'
import { time } from './views.js'

/** Projects are the tenants: nothing of one is visible to a key of another. */
export class Projects {
  constructor(private readonly database: Database) {}

  /** Makes the project, or gives the one that the same request made before. */
  async create({ id, name = id }: CreateProject): Promise<ProjectView> {
    const { db } = this.database
    await db
      .insertInto('projects')
      .values({ id, name })
      .onConflict((oc) => oc.column('id').doNothing())
      .execute()
    const row = await this.row(id)
    if (row.name !== name)
      throw new Vm0Error('CONFLICT', `project ${id} exists with the name ${JSON.stringify(row.name)}`)
    return projectView(row)
  }

  async list({ limit, before }: { limit: number; before?: string | undefined }) {
    let query = this.database.db
      .selectFrom('projects')
      .selectAll()
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (before) query = query.where('position', '<', Number((await this.row(before)).position))
    const rows = await query.execute()
    const items = rows.slice(0, limit).map(projectView)
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  private async row(id: string): Promise<Selectable<Schema['projects']>> {
    const row = await this.database.db.selectFrom('projects').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row) throw new Vm0Error('NOT_FOUND', `project ${id} does not exist`)
    return row
  }
}

function projectView(row: Selectable<Schema['projects']>): ProjectView {
  return { id: row.id, name: row.name, createdAt: time(row.created_at) }
}
