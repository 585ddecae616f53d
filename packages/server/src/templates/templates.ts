import { templateUses, type Database, type Schema } from '@vm0/backends'
import {
  standardTemplate,
  Vm0Error,
  type Resources,
  type StoredTemplate,
  type TemplateFacts,
  type TemplateList,
  type TemplateOrigin,
  type TemplatePort,
  type TemplateVersionView,
  type TemplateView,
} from '@vm0/contract'
import { sql, type Selectable } from 'kysely'
import { time } from '../views.js'
import { parseTemplate, type WantedTemplate } from './wanted-template.js'

type Row = Selectable<Schema['template_versions']> & { promoted: number | null; sessions: number | string }

/** What a session begins with. */
export interface ResolvedTemplate {
  digest: string
  resources: Resources
  env: Record<string, string>
}

/** The templates of projects, in versions: listed, promoted, removed, and found for the sessions that ask for one. */
export class Templates {
  constructor(
    private readonly database: Database,
    private readonly port: TemplatePort,
  ) {}

  /** Digest of the built-in one. */
  get standard(): string {
    return this.port.standard
  }

  async list(projectId: string): Promise<TemplateList> {
    const rows = await this.rows(projectId)
    const names = [...new Set(rows.map(({ name }) => name))]
    return {
      standard: this.port.standard,
      items: names.map((name) =>
        templateView(
          name,
          rows.filter((row) => row.name === name),
        ),
      ),
    }
  }

  /** Throws UNKNOWN_TEMPLATE. */
  async get(projectId: string, name: string): Promise<TemplateView> {
    const rows = await this.rows(projectId, name)
    if (rows.length === 0) throw unknown(name)
    return templateView(name, rows)
  }

  /** What `standard`, `name`, `name@version` or a digest means here and now; held until the transaction ends. Throws UNKNOWN_TEMPLATE. */
  async resolve(projectId: string, text: string, trx: Database['db']): Promise<ResolvedTemplate> {
    const { standard } = this.port
    if (text === standardTemplate || text === standard) return { digest: standard, resources: {}, env: {} }
    const wanted = parseTemplate(text)
    if (!wanted) throw unknown(text)
    const row = await this.held(projectId, wanted, trx)
    if (row)
      return { digest: row.digest, resources: row.resources as Resources, env: row.env as Record<string, string> }
    // An earlier built-in one, or one that came with a session: whoever has a session on it may begin another.
    if (wanted.digest !== undefined && (await templateUses(trx, { projectId, digest: wanted.digest })).length > 0)
      return { digest: wanted.digest, resources: {}, env: {} }
    throw unknown(text)
  }

  private async held(projectId: string, { digest, name, version }: WantedTemplate, trx: Database['db']) {
    let query = trx
      .selectFrom('template_versions')
      .innerJoin('templates', (join) =>
        join
          .onRef('templates.project_id', '=', 'template_versions.project_id')
          .onRef('templates.name', '=', 'template_versions.name'),
      )
      .select(['template_versions.digest', 'template_versions.resources', 'template_versions.env'])
      .where('template_versions.project_id', '=', projectId)
      .orderBy('template_versions.created_at', 'desc')
      .forShare('template_versions')
      .limit(1)
    if (digest !== undefined) query = query.where('template_versions.digest', '=', digest)
    if (name !== undefined) query = query.where('template_versions.name', '=', name)
    if (version !== undefined) query = query.where('template_versions.version', '=', version)
    else if (name !== undefined) query = query.whereRef('template_versions.version', '=', 'templates.promoted')
    return query.executeTakeFirst()
  }

  /** A new version of a name, whose image the store has. The first one of a name is what it means; a later one when it is promoted. */
  async add(
    projectId: string,
    name: string,
    { stored, facts, promote }: { stored: StoredTemplate; facts: TemplateFacts; promote: boolean },
  ): Promise<TemplateVersionView> {
    const version = await this.database.db.transaction().execute(async (trx) => {
      await trx
        .insertInto('templates')
        .values({ project_id: projectId, name, promoted: null, promoted_before: null })
        .onConflict((oc) => oc.columns(['project_id', 'name']).doNothing())
        .execute()
      const { last_version, promoted } = await this.lock(projectId, name, trx)
      const next = last_version + 1
      const createdAt = new Date().toISOString()
      await this.port.describe({ v: 1, projectId, name, version: next, ...stored, ...facts, createdAt })
      await trx
        .insertInto('template_versions')
        .values({
          project_id: projectId,
          name,
          version: next,
          digest: stored.digest,
          size_bytes: stored.sizeBytes,
          env: JSON.stringify(facts.env),
          resources: JSON.stringify(facts.resources),
          origin: JSON.stringify(facts.origin),
          created_at: createdAt,
        })
        .execute()
      const means = promote || promoted === null ? { promoted: next, promoted_before: promoted } : {}
      await this.update(projectId, name, { last_version: next, ...means }, trx)
      return next
    })
    return this.version(projectId, name, version)
  }

  /** The name means this version from now on. Sessions keep theirs. */
  async promote(projectId: string, name: string, version: number): Promise<TemplateView> {
    await this.database.db.transaction().execute(async (trx) => {
      const { promoted } = await this.lock(projectId, name, trx)
      await this.requireVersion(projectId, name, version, trx)
      if (promoted !== version)
        await this.update(projectId, name, { promoted: version, promoted_before: promoted }, trx)
    })
    return this.get(projectId, name)
  }

  /** The name means again what it meant before the last promotion. */
  async rollback(projectId: string, name: string): Promise<TemplateView> {
    await this.database.db.transaction().execute(async (trx) => {
      const { promoted, promoted_before: before } = await this.lock(projectId, name, trx)
      if (before === null)
        throw new Vm0Error(
          'CONFLICT',
          `template ${name} has no version that was promoted before ${promoted ?? 'now'}`,
          {
            hint: `Name the version: \`vm0 templates promote ${name}@N\`.`,
          },
        )
      await this.requireVersion(projectId, name, before, trx)
      await this.update(projectId, name, { promoted: before, promoted_before: promoted }, trx)
    })
    return this.get(projectId, name)
  }

  /**
   * Removes a version, or (without one) the name with all of them. Throws TEMPLATE_IN_USE where sessions need one, or where
   * the name means the version and there are others.
   */
  async remove(projectId: string, name: string, version?: number): Promise<void> {
    await this.database.db.transaction().execute(async (trx) => {
      const { promoted, promoted_before: before } = await this.lock(projectId, name, trx)
      const all = await trx
        .selectFrom('template_versions')
        .select(['version', 'digest'])
        .where('project_id', '=', projectId)
        .where('name', '=', name)
        .forUpdate()
        .execute()
      const going = version === undefined ? all : all.filter((row) => row.version === version)
      if (going.length === 0) throw unknown(`${name}@${version}`)
      if (going.length < all.length && going.some((row) => row.version === promoted))
        throw new Vm0Error('TEMPLATE_IN_USE', `${name} means version ${promoted}; expected one that is not promoted`)
      for (const row of going) await this.requireUnused(projectId, name, row, going, trx)
      const rows = trx.deleteFrom('template_versions').where('project_id', '=', projectId).where('name', '=', name)
      await (version === undefined ? rows : rows.where('version', '=', version)).execute()
      if (going.length === all.length)
        await trx.deleteFrom('templates').where('project_id', '=', projectId).where('name', '=', name).execute()
      else if (before === version) await this.update(projectId, name, { promoted_before: null }, trx)
    })
  }

  private async requireUnused(
    projectId: string,
    name: string,
    { version, digest }: { version: number; digest: string },
    going: readonly { version: number }[],
    trx: Database['db'],
  ): Promise<void> {
    const others = await trx
      .selectFrom('template_versions')
      .select(['name', 'version'])
      .where('project_id', '=', projectId)
      .where('digest', '=', digest)
      .execute()
    const stays = others.some((other) => other.name !== name || !going.some((each) => each.version === other.version))
    if (stays) return
    const uses = await templateUses(trx, { projectId, digest })
    if (uses.length === 0) return
    const named = uses
      .slice(0, 3)
      .map(({ sessionId, isHead }) => (isHead ? sessionId : `${sessionId} (a checkpoint of it)`))
    const more = uses.length > named.length ? ` and ${uses.length - named.length} more` : ''
    throw new Vm0Error('TEMPLATE_IN_USE', `${name}@${version} is in use by session ${named.join(', ')}${more}`, {
      details: { sessions: uses.map(({ sessionId }) => sessionId) },
    })
  }

  private async version(projectId: string, name: string, version: number): Promise<TemplateVersionView> {
    const [row] = (await this.rows(projectId, name)).filter((each) => each.version === version)
    if (!row) throw unknown(`${name}@${version}`)
    return versionView(row)
  }

  private async requireVersion(projectId: string, name: string, version: number, trx: Database['db']): Promise<void> {
    const row = await trx
      .selectFrom('template_versions')
      .select('version')
      .where('project_id', '=', projectId)
      .where('name', '=', name)
      .where('version', '=', version)
      .executeTakeFirst()
    if (!row) throw unknown(`${name}@${version}`)
  }

  private async lock(projectId: string, name: string, trx: Database['db']) {
    const row = await trx
      .selectFrom('templates')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('name', '=', name)
      .forUpdate()
      .executeTakeFirst()
    if (!row) throw unknown(name)
    return row
  }

  private async update(projectId: string, name: string, values: object, trx: Database['db']): Promise<void> {
    await trx
      .updateTable('templates')
      .set(values as never)
      .where('project_id', '=', projectId)
      .where('name', '=', name)
      .execute()
  }

  /** By name, the newest version first. */
  private async rows(projectId: string, name?: string): Promise<Row[]> {
    const only = name === undefined ? sql`` : sql`and v.name = ${name}`
    const { rows } = await sql<Row>`
      select v.*, t.promoted, (
          select count(*) from sessions s where s.project_id = v.project_id and s.state = 'open' and s.template = v.digest
        ) as sessions
        from template_versions v join templates t on t.project_id = v.project_id and t.name = v.name
        where v.project_id = ${projectId} ${only}
        order by v.name, v.version desc`.execute(this.database.db)
    return rows
  }
}

function unknown(text: string): Vm0Error {
  return new Vm0Error(
    'UNKNOWN_TEMPLATE',
    `template ${JSON.stringify(text.slice(0, 200))} is unknown in this project; expected "standard", NAME, NAME@VERSION or a digest`,
  )
}

const templateView = (name: string, rows: readonly Row[]): TemplateView => ({
  name,
  promoted: rows[0]?.promoted ?? null,
  versions: rows.map(versionView),
})

function versionView(row: Row): TemplateVersionView {
  return {
    name: row.name,
    version: row.version,
    digest: row.digest,
    sizeBytes: Number(row.size_bytes),
    promoted: row.promoted === row.version,
    env: row.env as Record<string, string>,
    resources: row.resources as Resources,
    origin: row.origin as TemplateOrigin,
    sessions: Number(row.sessions),
    createdAt: time(row.created_at),
  }
}
