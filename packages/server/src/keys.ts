import { createHash, randomBytes } from 'node:crypto'
import type { Database, Schema } from '@vm0/backends'
import {
  Vm0Error,
  type CreateKeyParsed,
  type CreateTokenParsed,
  type KeyView,
  type Scope,
  type TokenView,
} from '@vm0/contract'
import { sql, type Selectable } from 'kysely'
import { LRUCache } from 'lru-cache'
import { allows, type Principal } from './principal.js'
import { time } from './views.js'

/** How long another server may still take a key that was revoked on this one. */
const cacheMs = 5_000
const cachedKeys = 10_000
export const tokenPrefix = 'vm0t_'

type Row = Selectable<Schema['api_keys']>

const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex')
const inMs = (ms: number) => sql<Date>`now() + ${ms}::float8 * interval '1 millisecond'`

/** API keys (`vm0_…`) and the short-lived tokens made with them (`vm0t_…`): 32 random bytes, of which only the sha256 is stored. */
export class Keys {
  private readonly cache = new LRUCache<string, Principal>({ max: cachedKeys, ttl: cacheMs })
  /** Goes up with each revocation: what was looked up before it is not kept. */
  private generation = 0

  constructor(
    private readonly database: Database,
    /** Is told of keys and tokens that are valid no longer. */
    private readonly onRevoked: (keyIds: string[]) => void = () => undefined,
  ) {}

  async create(by: Principal, body: CreateKeyParsed): Promise<KeyView> {
    const installation = allows(by.scopes, 'installation')
    const projectId = body.projectId ?? by.projectId
    if (projectId !== by.projectId && !(installation && (await this.projectExists(projectId))))
      throw new Vm0Error('NOT_FOUND', `project ${projectId} does not exist, or the key lacks the scope "installation"`)
    if (body.scopes.includes('installation') && !installation)
      throw new Vm0Error('FORBIDDEN', 'only a key with the scope "installation" can give that scope')
    return this.insert(projectId, body)
  }

  /** The key of `vm0 up` itself. */
  createFirst(projectId: string, name: string): Promise<KeyView> {
    return this.insert(projectId, { name, scopes: ['read', 'write', 'admin', 'installation'] })
  }

  private async insert(projectId: string, { name, scopes, expiresInMs }: CreateKeyParsed): Promise<KeyView> {
    const key = `vm0_${randomBytes(32).toString('base64url')}`
    const row = await this.database.db
      .insertInto('api_keys')
      .values({
        id: randomBytes(6).toString('hex'),
        project_id: projectId,
        name,
        hash: hashOf(key),
        scopes: [...new Set(scopes)],
        expires_at: expiresInMs === undefined ? null : inMs(expiresInMs),
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    return { ...keyView(row), key }
  }

  /** A token that only reads, of what its maker sees; it is valid no longer than the key that made it. */
  async createToken(by: Principal, { sessionId, runId, expiresInMs }: CreateTokenParsed): Promise<TokenView> {
    const token = `${tokenPrefix}${randomBytes(32).toString('base64url')}`
    const { db } = this.database
    await db
      .deleteFrom('api_keys')
      .where('made_by', '=', by.keyId)
      .where('expires_at', '<', sql<Date>`now()`)
      .execute()
    const row = await db
      .insertInto('api_keys')
      .values({
        id: randomBytes(6).toString('hex'),
        project_id: by.projectId,
        name: 'token',
        hash: hashOf(token),
        scopes: ['read'],
        expires_at:
          by.expiresAtMs === null
            ? inMs(expiresInMs)
            : sql<Date>`least(${inMs(expiresInMs)}, ${new Date(by.expiresAtMs)}::timestamptz)`,
        kind: 'token',
        made_by: by.keyId,
        session_id: sessionId ?? null,
        run_id: runId ?? null,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    return {
      id: row.id,
      token,
      project: row.project_id,
      sessionId: row.session_id,
      runId: row.run_id,
      expiresAt: time(row.expires_at as Date),
    }
  }

  /** What a key or token stands for while it is valid: a look into memory, or one into the database. */
  async authenticate(key: string): Promise<Principal | undefined> {
    const hash = hashOf(key)
    const cached = this.cache.get(hash)
    if (cached) return cached.expiresAtMs !== null && cached.expiresAtMs <= Date.now() ? undefined : cached
    const { generation } = this
    const row = await this.database.db
      .selectFrom('api_keys')
      .selectAll()
      .where('hash', '=', hash)
      .where('revoked_at', 'is', null)
      .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', sql<Date>`now()`)]))
      .executeTakeFirst()
    if (!row) return undefined
    const principal = toPrincipal(row)
    if (generation === this.generation) this.cache.set(hash, principal)
    return principal
  }

  async list(projectId: string, { limit, before }: { limit: number; before?: string | undefined }) {
    let query = this.database.db
      .selectFrom('api_keys')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('kind', '=', 'key')
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (before) query = query.where('position', '<', Number((await this.row(projectId, before)).position))
    const rows = await query.execute()
    const items = rows.slice(0, limit).map(keyView)
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  /** Ends a key with the tokens that it made, or a token. */
  async revoke(projectId: string, id: string): Promise<void> {
    const rows = await this.database.db
      .updateTable('api_keys')
      .set({ revoked_at: sql<Date>`coalesce(revoked_at, now())` })
      .where('project_id', '=', projectId)
      .where((eb) => eb.or([eb('id', '=', id), eb('made_by', '=', id)]))
      .returning(['id', 'hash'])
      .execute()
    this.generation += 1
    for (const { hash } of rows) this.cache.delete(hash)
    if (rows.length === 0) throw new Vm0Error('NOT_FOUND', `key ${id} does not exist in this project`)
    this.onRevoked(rows.map((row) => row.id))
  }

  private async row(projectId: string, id: string): Promise<Row> {
    const row = await this.database.db
      .selectFrom('api_keys')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
    if (!row) throw new Vm0Error('NOT_FOUND', `key ${id} does not exist in this project`)
    return row
  }

  private async projectExists(id: string): Promise<boolean> {
    return (
      (await this.database.db.selectFrom('projects').select('id').where('id', '=', id).executeTakeFirst()) !== undefined
    )
  }
}

function toPrincipal(row: Row): Principal {
  return {
    keyId: row.id,
    accountId: row.made_by ?? row.id,
    projectId: row.project_id,
    scopes: new Set(row.scopes as Scope[]),
    expiresAtMs: row.expires_at ? new Date(row.expires_at).getTime() : null,
    token: row.kind === 'token' ? { sessionId: row.session_id, runId: row.run_id } : null,
  }
}

function keyView(row: Row): KeyView {
  return {
    id: row.id,
    name: row.name,
    project: row.project_id,
    scopes: row.scopes as Scope[],
    createdAt: time(row.created_at),
    expiresAt: row.expires_at ? time(row.expires_at) : null,
    revokedAt: row.revoked_at ? time(row.revoked_at) : null,
  }
}
