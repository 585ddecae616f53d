import {
  isEnded,
  noTimings,
  Vm0Error,
  type CreateRunParsed,
  type RunState,
  type RunView,
  type Vm0Event,
} from '@vm0/contract'
import { sql } from 'kysely'
import { uuidv7 } from 'uuidv7'
import type { ServerOptions } from './options.js'
import { bodyHash, type Sessions } from './sessions.js'
import { runView } from './views.js'

/** A run that ended this long ago has its last event in the log, unless a crash came between the two. */
const logSettledMs = 10_000

export class Runs {
  constructor(
    private readonly options: ServerOptions,
    private readonly sessions: Sessions,
    private readonly dispatch: () => void,
  ) {}

  /** Takes the run, or gives the one that the same request made before. */
  async create(projectId: string, request: CreateRunParsed): Promise<RunView> {
    const { id = uuidv7(), ...body } = request
    const hash = bodyHash(body)
    const known = (await this.options.frameworks()).map(({ name }) => name)
    if (!known.includes(body.framework))
      throw new Vm0Error(
        'UNKNOWN_FRAMEWORK',
        `framework ${JSON.stringify(body.framework)} is unknown; expected one of ${known.join(', ')}`,
      )
    const before = await this.find(projectId, id)
    if (before) return this.same(before, hash)
    const makesSession = body.newSession || !body.sessionId
    if (body.workspaceUpload) await this.sessions.requireUpload(projectId, body.workspaceUpload)
    const { db } = this.options.database
    const sessionId = await db.transaction().execute(async (trx) => {
      const session = makesSession
        ? await this.sessions.create(
            projectId,
            {
              id: body.sessionId,
              template: body.template,
              resources: body.resources,
              labels: body.labels,
              workspaceUpload: body.workspaceUpload,
            },
            trx,
          )
        : (await this.sessions.row(projectId, body.sessionId as string, trx)).id
      if (body.ifBusy === 'refuse') {
        const busy = await trx
          .selectFrom('runs')
          .select('id')
          .where('project_id', '=', projectId)
          .where('session_id', '=', session)
          .where('state', 'in', ['queued', 'starting', 'running', 'waiting'])
          .executeTakeFirst()
        if (busy) throw new Vm0Error('SESSION_BUSY', `session ${session} already has the run ${busy.id}`)
      }
      // What the session is made with belongs to the session: the run must not unpack it again.
      const { workspaceUpload, ...spec } = body
      const sealed = this.options.secrets.seal(
        JSON.stringify(makesSession || !workspaceUpload ? spec : { ...spec, workspaceUpload }),
      )
      await trx
        .insertInto('runs')
        .values({
          project_id: projectId,
          id,
          session_id: session,
          state: 'queued',
          framework: body.framework,
          model: body.model ?? null,
          labels: JSON.stringify(body.labels ?? {}),
          body_hash: hash,
          spec: sealed,
        } as never)
        .onConflict((oc) => oc.columns(['project_id', 'id']).doNothing())
        .execute()
      return session
    })
    const log = await this.options.eventLog.open({ projectId, sessionId, runId: id }, 0)
    log.append({ type: 'run.queued' })
    await log.close()
    this.dispatch()
    const row = await this.find(projectId, id)
    if (!row) throw new Vm0Error('INTERNAL', `run ${id} was not stored`)
    return this.same(row, hash)
  }

  private same(row: NonNullable<Awaited<ReturnType<Runs['find']>>>, hash: string): RunView {
    if (row.body_hash !== hash) throw new Vm0Error('CONFLICT', `run ${row.id} exists and was made by another request`)
    return runView(row, this.options.secrets)
  }

  private find(projectId: string, id: string) {
    return this.options.database.db
      .selectFrom('runs')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
  }

  private async row(projectId: string, id: string) {
    const row = await this.find(projectId, id)
    if (!row) throw new Vm0Error('NOT_FOUND', `run ${id} does not exist in this project`)
    return row
  }

  async get(projectId: string, id: string): Promise<RunView> {
    return runView(await this.row(projectId, id), this.options.secrets)
  }

  async list(
    projectId: string,
    { limit, before, sessionId }: { limit: number; before?: string | undefined; sessionId?: string | undefined },
  ) {
    let query = this.options.database.db
      .selectFrom('runs')
      .selectAll()
      .where('project_id', '=', projectId)
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (sessionId) query = query.where('session_id', '=', sessionId)
    if (before) query = query.where('position', '<', Number((await this.row(projectId, before)).position))
    const rows = await query.execute()
    const items = rows.slice(0, limit).map((row) => runView(row, this.options.secrets))
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  /** Idempotent while the run is active; RUN_ENDED afterwards. */
  async cancel(projectId: string, id: string): Promise<RunView> {
    const row = await this.row(projectId, id)
    if (isEnded(row.state as RunState)) throw new Vm0Error('RUN_ENDED', `run ${id} has ended as ${row.state}`)
    const ref = { projectId, sessionId: row.session_id, runId: id }
    const error = { code: 'CANCELLED', message: 'the run was cancelled before it started', hint: 'Run again to go on.' }
    const cancelled = await this.options.database.db
      .updateTable('runs')
      .set({ state: 'cancelled', reason: 'cancelled', error: JSON.stringify(error), ended_at: sql<Date>`now()` })
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .where('state', '=', 'queued')
      .executeTakeFirst()
    if (Number(cancelled.numUpdatedRows) === 1) {
      const log = await this.options.eventLog.open(ref, 0)
      log.append({ type: 'run.finished', outcome: 'cancelled', reason: 'cancelled', timings: noTimings, error })
      await log.close()
      this.dispatch()
    } else await this.options.runner.cancel(ref)
    return this.get(projectId, id)
  }

  async input(projectId: string, id: string, text: string): Promise<void> {
    const row = await this.row(projectId, id)
    if (isEnded(row.state as RunState)) throw new Vm0Error('RUN_ENDED', `run ${id} has ended as ${row.state}`)
    await this.options.runner.input({ projectId, sessionId: row.session_id, runId: id }, text)
  }

  /** Events after a cursor; follows an active run to its end. */
  async events(
    projectId: string,
    id: string,
    options: { after?: string | undefined; follow: boolean; signal: AbortSignal },
  ): Promise<AsyncIterable<Vm0Event>> {
    const row = await this.row(projectId, id)
    const scope = { projectId, sessionId: row.session_id, runId: id }
    if (row.ended_at && Date.now() - new Date(row.ended_at).getTime() > logSettledMs) await this.completeLog(scope, row)
    return this.options.eventLog.read(scope, options)
  }

  /** Adds the last event where the process ended between the row's commit and the log's. */
  private async completeLog(
    scope: { projectId: string; sessionId: string; runId: string },
    row: Awaited<ReturnType<Runs['row']>>,
  ): Promise<void> {
    for await (const event of this.options.eventLog.read(scope, { follow: false }))
      if (event.type === 'run.finished') return
    const log = await this.options.eventLog.open(scope, Number(row.epoch))
    const view = runView(row, this.options.secrets)
    log.append({
      type: 'run.finished',
      outcome: row.state as 'died',
      reason: row.reason,
      timings: view.timings,
      error: view.error,
    })
    await log.close()
  }
}
