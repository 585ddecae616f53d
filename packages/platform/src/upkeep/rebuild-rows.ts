import type { Database, SecretsPort, StoredObject } from '@vm0/backends'
import type { RecoveredSession, StoredCheckpoint } from '@vm0/checkpoints'
import type { RebuildReport } from '@vm0/contract'

type Rows = Pick<RebuildReport, 'projects' | 'sessions' | 'checkpoints' | 'uploads' | 'behind'>

/** Makes the rows that the store tells of, in one transaction. What is there already stays as it is. */
export function insertRows(
  { db }: Database,
  secrets: SecretsPort,
  sessions: readonly RecoveredSession[],
  uploads: readonly StoredObject[],
): Promise<Rows> {
  return db.transaction().execute(async (trx) => {
    const made: Rows = { projects: 0, sessions: 0, checkpoints: 0, uploads: 0, behind: [] }
    for (const { projectId } of sessions) made.projects += await insertProject(trx, projectId)
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
    for (const { name, sizeBytes } of uploads) {
      const [, project, hex] = /^uploads\/([^/]+)\/sha256-([0-9a-f]{64})$/.exec(name) ?? []
      if (!project || !hex) continue
      made.projects += await insertProject(trx, project)
      made.uploads += await insertUpload(trx, project, `sha256:${hex}`, sizeBytes)
    }
    return made
  })
}

type Transaction = Database['db']

async function insertProject(trx: Transaction, id: string): Promise<number> {
  const insertion = trx.insertInto('projects').values({ id, name: id })
  return (
    await insertion
      .onConflict((oc) => oc.doNothing())
      .returning('id')
      .execute()
  ).length
}

async function insertUpload(trx: Transaction, project_id: string, digest: string, size_bytes: number): Promise<number> {
  const insertion = trx.insertInto('uploads').values({ project_id, digest, size_bytes })
  return (
    await insertion
      .onConflict((oc) => oc.doNothing())
      .returning('digest')
      .execute()
  ).length
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
  const insertion = trx.insertInto('sessions').values(values as never)
  return (
    await insertion
      .onConflict((oc) => oc.doNothing())
      .returning('id')
      .execute()
  ).length
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
    project_id: manifest.projectId,
    id,
    session_id: manifest.sessionId,
    run_id: manifest.runId,
    parent: manifest.parent,
    cause: manifest.cause,
    outcome: manifest.outcome,
    epoch: manifest.epoch,
    size_bytes: top && !before.some(({ digest }) => digest === top.digest) ? top.sizeBytes : 0,
    created_at: manifest.createdAt,
    template: manifest.template,
    framework: manifest.conversation?.framework ?? null,
    agent_session_id: manifest.conversation?.agentSessionId ?? null,
    name: manifest.name ?? null,
    tool_calls: manifest.toolCalls ? secrets.seal(JSON.stringify(manifest.toolCalls.map(titled))) : null,
  }
  const insertion = trx.insertInto('checkpoints').values(values as never)
  return (
    await insertion
      .onConflict((oc) => oc.doNothing())
      .returning('id')
      .execute()
  ).length
}

/** What a call was about is private: the store has its name only. */
const titled = (call: { id: string; name: string }) => ({ ...call, title: call.name })
