import { createHash, randomBytes } from 'node:crypto'
import type { Database } from '@vm0/backends'
import { Vm0Error, type KeyView } from '@vm0/contract'
import { sql } from 'kysely'

const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex')

/** API keys: `vm0_` and 32 random bytes; only the sha256 is stored. */
export class Keys {
  constructor(private readonly database: Database) {}

  async create(projectId: string, name: string): Promise<KeyView> {
    const key = `vm0_${randomBytes(32).toString('base64url')}`
    await this.database.db
      .insertInto('projects')
      .values({ id: projectId, name: projectId })
      .onConflict((oc) => oc.column('id').doNothing())
      .execute()
    const row = await this.database.db
      .insertInto('api_keys')
      .values({ id: randomBytes(6).toString('hex'), project_id: projectId, name, hash: hashOf(key) })
      .returningAll()
      .executeTakeFirstOrThrow()
    return {
      id: row.id,
      name,
      project: projectId,
      createdAt: new Date(row.created_at).toISOString(),
      revokedAt: null,
      key,
    }
  }

  /** The project of a key that is valid now. */
  async project(key: string): Promise<string | undefined> {
    const row = await this.database.db
      .selectFrom('api_keys')
      .select('project_id')
      .where('hash', '=', hashOf(key))
      .where('revoked_at', 'is', null)
      .executeTakeFirst()
    return row?.project_id
  }

  async list(projectId: string): Promise<KeyView[]> {
    const rows = await this.database.db
      .selectFrom('api_keys')
      .selectAll()
      .where('project_id', '=', projectId)
      .orderBy('created_at', 'desc')
      .execute()
    return rows.map((row) => ({
      id: row.id,
      name: row.name,
      project: projectId,
      createdAt: new Date(row.created_at).toISOString(),
      revokedAt: row.revoked_at ? new Date(row.revoked_at).toISOString() : null,
    }))
  }

  async revoke(projectId: string, id: string): Promise<void> {
    const result = await this.database.db
      .updateTable('api_keys')
      .set({ revoked_at: sql<Date>`coalesce(revoked_at, now())` })
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
    if (Number(result.numUpdatedRows) === 0) throw new Vm0Error('NOT_FOUND', `key ${id} does not exist`)
  }
}
