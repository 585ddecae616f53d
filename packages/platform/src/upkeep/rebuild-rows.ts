import type { Database, Schema, SecretsPort, StoredObject } from '@vm0/backends'
import { checkpointColumns, type RecoveredSession, type StoredCheckpoint } from '@vm0/checkpoints'
import type { RebuildReport, TemplateDocument } from '@vm0/contract'

type Rows = Pick<RebuildReport, 'projects' | 'sessions' | 'checkpoints' | 'templates' | 'uploads' | 'behind'>

/** Makes the rows that the store tells of, in one transaction. What is there already stays as it is. */
export function insertRows(
  { db }: Database,
  secrets: SecretsPort,
  sessions: readonly RecoveredSession[],
  templates: readonly TemplateDocument[],
  uploads: readonly StoredObject[],
): Promise<Rows> {
  return db.transaction().execute(async (trx) => {
    const made: Rows = { projects: 0, sessions: 0, checkpoints: 0, templates: 0, uploads: 0, behind: [] }
    for (const { projectId } of sessions)
      made.projects += await add(trx, 'projects', { id: projectId, name: projectId })
    for (const session of sessions) {
      const inserted = session.head ? await insertSession(trx, session, session.head) : 0
      made.sessions += inserted
      const row = await rowOf(trx, session)
      const { projectId: project, sessionId: id, newest } = session
      if (row?.state !== 'deleted' && row?.head !== newest.id)
        made.behind.push({
          project,
          id,
          head: row?.head ?? null,
          newest: newest.id,
          why: inserted || !row ? 'damaged' : 'kept',
        })
      // Of a session that was deleted nothing comes back.
      if (row?.state !== 'open') continue
      for (const each of session.checkpoints) made.checkpoints += await insertCheckpoint(trx, secrets, each, session)
    }
    const lastVersions = await lastVersionsOf(trx)
    for (const document of templates) {
      // Numbers are given once: one that is not there although a later one was given has been removed.
      if (document.version <= (lastVersions.get(keyOf(document)) ?? 0)) continue
      made.projects += await add(trx, 'projects', { id: document.projectId, name: document.projectId })
      made.templates += await insertTemplate(trx, document)
    }
    for (const { name, sizeBytes } of uploads) {
      const [, project, hex] = /^uploads\/([^/]+)\/sha256-([0-9a-f]{64})$/.exec(name) ?? []
      if (!project || !hex) continue
      made.projects += await add(trx, 'projects', { id: project, name: project })
      made.uploads += await add(trx, 'uploads', { project_id: project, digest: `sha256:${hex}`, size_bytes: sizeBytes })
    }
    return made
  })
}

type Transaction = Database['db']

/** How many rows that adds: none where there is one already. */
async function add(trx: Transaction, table: keyof Schema, values: object) {
  const [result] = await trx
    .insertInto(table)
    .values(values as never)
    .onConflict((oc) => oc.doNothing())
    .execute()
  return Number(result?.numInsertedOrUpdatedRows ?? 0)
}

const keyOf = ({ projectId, name }: { projectId: string; name: string }): string => `${projectId} ${name}`

/** Of the templates that are there. */
async function lastVersionsOf(trx: Transaction): Promise<Map<string, number>> {
  const rows = await trx.selectFrom('templates').select(['project_id as projectId', 'name', 'last_version']).execute()
  return new Map(rows.map((row) => [keyOf(row), row.last_version]))
}

/** Which version a name meant isn't told: it means the newest, which comes first. */
async function insertTemplate(trx: Transaction, document: TemplateDocument): Promise<number> {
  const { projectId, name, version, digest, sizeBytes, env, resources, origin, createdAt } = document
  const made = { project_id: projectId, name, promoted: version, promoted_before: null, last_version: version }
  await add(trx, 'templates', made)
  await trx
    .updateTable('templates')
    .set({ last_version: version })
    .where('project_id', '=', projectId)
    .where('name', '=', name)
    .where('last_version', '<', version)
    .execute()
  return add(trx, 'template_versions', {
    project_id: projectId,
    name,
    version,
    digest,
    size_bytes: sizeBytes,
    env: JSON.stringify(env),
    resources: JSON.stringify(resources),
    origin: JSON.stringify(origin),
    created_at: createdAt,
  })
}

function rowOf(trx: Transaction, { projectId, sessionId }: RecoveredSession) {
  return trx
    .selectFrom('sessions')
    .select(['state', 'head'])
    .where('project_id', '=', projectId)
    .where('id', '=', sessionId)
    .executeTakeFirst()
}

async function insertSession(
  trx: Transaction,
  { projectId, sessionId, origin, checkpoints }: RecoveredSession,
  { id: head, manifest: { template, conversation, createdAt } }: StoredCheckpoint,
): Promise<number> {
  const values = {
    project_id: projectId,
    id: sessionId,
    template,
    framework: conversation?.framework ?? null,
    agent_session_id: conversation?.agentSessionId ?? null,
    head,
    origin,
    resources: '{}',
    labels: '{}',
    // No request that asks for this id is known to be the one that made it.
    body_hash: '',
    // Above every owner that there was: none of them can write any more.
    epoch: Math.max(...checkpoints.map(({ manifest }) => manifest.epoch)) + 1,
    created_at: checkpoints[0]?.manifest.createdAt ?? createdAt,
    updated_at: createdAt,
  }
  return add(trx, 'sessions', values)
}

async function insertCheckpoint(
  trx: Transaction,
  secrets: SecretsPort,
  { id, manifest }: StoredCheckpoint,
  { checkpoints }: RecoveredSession,
): Promise<number> {
  const before = checkpoints.find((each) => each.id === manifest.parent)?.manifest.layers ?? []
  const top = manifest.layers.at(-1)
  const values = {
    ...checkpointColumns(id, manifest),
    size_bytes: top && !before.some(({ digest }) => digest === top.digest) ? top.sizeBytes : 0,
    created_at: manifest.createdAt,
    tool_calls: manifest.toolCalls ? secrets.seal(JSON.stringify(manifest.toolCalls.map(titled))) : null,
  }
  return add(trx, 'checkpoints', values)
}

/** What a call was about is private: the store has its name only. */
const titled = (call: { id: string; name: string }) => ({ ...call, title: call.name })
