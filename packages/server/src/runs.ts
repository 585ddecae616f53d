import { setImmediate as turnOfEvents } from 'node:timers/promises'
import { acceptClaimedRun, acceptRun, type Database, type Schema } from '@vm0/backends'
import {
  compareCursors,
  defaultResources,
  isEnded,
  Vm0Error,
  wallClockMs,
  type Answer,
  type CreateRunParsed,
  type Resources,
  type RunPage,
  type RunRef,
  type RunState,
  type RunView,
  type Vm0Event,
} from '@vm0/contract'
import type { FastifyRequest } from 'fastify'
import { sql, type Selectable } from 'kysely'
import { uuidv7 } from 'uuidv7'
import type { Dispatcher } from './dispatcher.js'
import { endingOf, queuedEvent } from './milestones.js'
import type { ServerOptions } from './options.js'
import { requireSight, type Principal } from './principal.js'
import { bodyHash, type Sessions } from './sessions.js'
import type { Storage } from './storage.js'
import { runView } from './views.js'

type Row = Selectable<Schema['runs']>

export interface Circumstances {
  prompt: string | undefined
  resources: Resources
  traceparent: string | undefined
}

/** Another request made the run between the look and the insert: what this one did is undone. */
class MadeMeanwhile extends Error {}

export class Runs {
  constructor(
    private readonly options: ServerOptions,
    private readonly sessions: Sessions,
    private readonly storage: Storage,
    private readonly dispatcher: Pick<Dispatcher, 'wake' | 'offer' | 'begin'>,
    /** Is told of a run that ended without having begun. */
    private readonly onEnded: () => void,
  ) {}

  /** Takes the run, or gives the one that the same request made before. The row alone makes it accepted. */
  async create(
    projectId: string,
    { id = uuidv7(), ...body }: CreateRunParsed,
    arrival: FastifyRequest['arrival'],
  ): Promise<RunView> {
    // A request that is sent again comes from another span of the caller's.
    const { traceparent: _, ...same } = body
    const hash = bodyHash(same)
    this.requireFramework(body.framework)
    if (body.from && body.sessionId && !body.newSession)
      throw new Vm0Error(
        'INVALID_REQUEST',
        `session ${body.sessionId} goes on from its own head; expected from without a session, or rollback before`,
      )
    if (body.template !== undefined && body.sessionId && !body.newSession)
      throw new Vm0Error(
        'INVALID_REQUEST',
        `session ${body.sessionId} keeps the template that it began with; expected template for a new session only`,
        { hint: 'Move the session with `vm0 sessions upgrade SESSION --template NAME`.' },
      )
    const made =
      (await this.accept(projectId, id, body, hash, arrival)) ??
      (await this.find(projectId, id)) ??
      (await this.insert(projectId, id, body, hash, arrival))
    if (made.body_hash !== hash) throw new Vm0Error('CONFLICT', `run ${id} exists and was made by another request`)
    if (made.state === 'queued') {
      const ref = refOf(made)
      this.options.onRun?.(ref, 'the request was accepted, the run is queued')
      if (body.newSession || !body.sessionId) this.dispatcher.offer(ref)
      else this.dispatcher.wake()
    }
    return runView(made, this.options.secrets)
  }

  /** In one round trip, where the run begins as most do and nothing is in its way. */
  private async accept(
    projectId: string,
    id: string,
    body: Omit<CreateRunParsed, 'id'>,
    hash: string,
    arrival: FastifyRequest['arrival'],
  ): Promise<Row | undefined> {
    const { sessionId, newSession = false } = body
    const session = newSession ? this.sessions.plain(newSessionOf(body)) : undefined
    if (!sessionId || (newSession && !session) || body.workspaceUpload || body.ifBusy === 'refuse') return undefined
    const { createdAtMs, timings } = since(arrival)
    const { database, limits, secrets } = this.options
    const row = {
      projectId,
      id,
      sessionId,
      framework: body.framework,
      model: body.model ?? null,
      labels: body.labels ?? {},
      bodyHash: hash,
      spec: secrets.seal(JSON.stringify(specOf(body, newSession))),
      timings,
      ageMs: wallClockMs() - createdAtMs,
    }
    let made: Row | undefined
    await this.dispatcher.begin({ projectId, sessionId, runId: id }, async (runnerId) => {
      const askedAtMs = Date.now()
      const claimed = await acceptClaimedRun(database, row, session, limits.queuedRuns, runnerId)
      if (!claimed) return undefined
      made = claimed.run
      const { spec, framework, ageMs } = row
      const { session: owned } = claimed
      return {
        epoch: owned.epoch,
        spec,
        framework,
        createdAtMs: askedAtMs - ageMs,
        timings,
        attempts: 1,
        session: owned,
      }
    })
    if (made) {
      // What the run can do at once comes before the answer: on a warm host that is to write its prompt.
      await turnOfEvents()
      this.options.onRun?.(refOf(made), 'the request was accepted, the run begins at once')
    }
    return made ?? acceptRun(database, row, session, limits.queuedRuns)
  }

  private async insert(
    projectId: string,
    id: string,
    body: Omit<CreateRunParsed, 'id'>,
    hash: string,
    arrival: FastifyRequest['arrival'],
  ): Promise<Row> {
    const { createdAtMs, timings } = since(arrival)
    try {
      return await this.options.database.db.transaction().execute(async (trx) => {
        await this.storage.requireRoomForRun(projectId, this.options.limits.queuedRuns, trx)
        const makesSession = body.newSession || !body.sessionId
        const sessionId = makesSession
          ? await this.sessions.create(projectId, newSessionOf(body), trx)
          : (body.sessionId as string)
        await this.sessions.lock(projectId, sessionId, trx)
        if (body.workspaceUpload) await this.sessions.requireUpload(projectId, body.workspaceUpload, trx)
        const row = await trx
          .insertInto('runs')
          .values({
            project_id: projectId,
            id,
            session_id: sessionId,
            state: 'queued',
            framework: body.framework,
            model: body.model ?? null,
            labels: JSON.stringify(body.labels ?? {}),
            body_hash: hash,
            // By the database's clock, which alone tells how old a run is.
            created_at: sql<Date>`now() - ${wallClockMs() - createdAtMs}::float8 * interval '1 millisecond'`,
            timings: JSON.stringify(timings),
            spec: this.options.secrets.seal(JSON.stringify(specOf(body, makesSession))),
          } as never)
          .onConflict((oc) => oc.columns(['project_id', 'id']).doNothing())
          .returningAll()
          .executeTakeFirst()
        if (!row) throw new MadeMeanwhile()
        if (body.ifBusy === 'refuse') await this.requireIdle(projectId, sessionId, id, trx)
        return row
      })
    } catch (error) {
      if (error instanceof MadeMeanwhile) return this.row(projectId, id)
      throw error
    }
  }

  private requireFramework(name: string): void {
    const known = this.options.frameworkNames
    if (!known.includes(name))
      throw new Vm0Error(
        'UNKNOWN_FRAMEWORK',
        `framework ${JSON.stringify(name)} is unknown; expected one of ${known.join(', ')}`,
      )
  }

  private async requireIdle(projectId: string, sessionId: string, but: string, trx: Database['db']): Promise<void> {
    const busy = await this.sessions.activeRun(projectId, sessionId, trx, but)
    if (busy) throw new Vm0Error('SESSION_BUSY', `session ${sessionId} already has the run ${busy}`)
  }

  private find(projectId: string, id: string): Promise<Row | undefined> {
    return this.options.database.db
      .selectFrom('runs')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
  }

  private async row(projectId: string, id: string): Promise<Row> {
    const row = await this.find(projectId, id)
    if (!row) throw new Vm0Error('NOT_FOUND', `run ${id} does not exist in this project`)
    return row
  }

  private async seen(by: Principal, id: string): Promise<Row> {
    const row = await this.row(by.projectId, id)
    requireSight(by, { sessionId: row.session_id, runId: row.id })
    return row
  }

  async get(by: Principal, id: string): Promise<RunView> {
    return runView(await this.seen(by, id), this.options.secrets)
  }

  /** What is not in a run's events but explains them. Its prompt is not for who may only watch. */
  async circumstances(by: Principal, id: string): Promise<Circumstances> {
    const row = await this.seen(by, id)
    const session = await this.sessions.row(row.project_id, row.session_id)
    const spec = this.specOf(row)
    const resources = { ...defaultResources, ...(session.resources as Resources), ...spec.resources }
    return { prompt: by.token ? undefined : spec.prompt, resources, traceparent: spec.traceparent }
  }

  /** What the run was asked for; empty of one whose session was deleted. */
  async spec(projectId: string, id: string): Promise<Partial<CreateRunParsed>> {
    return this.specOf(await this.row(projectId, id))
  }

  private specOf({ spec }: Row): Partial<CreateRunParsed> {
    return spec.length === 0 ? {} : (JSON.parse(this.options.secrets.open(spec)) as CreateRunParsed)
  }

  async list(projectId: string, { limit, before, sessionId, state, reason, since, label }: RunPage) {
    if (sessionId) await this.sessions.find(projectId, sessionId)
    let query = this.options.database.db
      .selectFrom('runs')
      .selectAll()
      .where('project_id', '=', projectId)
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (sessionId) query = query.where('session_id', '=', sessionId)
    if (state) query = query.where('state', '=', state)
    if (reason) query = query.where('reason', '=', reason)
    if (since) query = query.where('created_at', '>=', new Date(since))
    if (label) query = query.where(sql<boolean>`labels @> ${JSON.stringify(labelOf(label))}::jsonb`)
    if (before) query = query.where('position', '<', Number((await this.row(projectId, before)).position))
    const rows = await query.execute()
    const items = rows.slice(0, limit).map((row) => runView(row, this.options.secrets))
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  /** Idempotent while the run is active; RUN_ENDED afterwards. */
  async cancel(by: Principal, id: string): Promise<RunView> {
    const row = await this.row(by.projectId, id)
    const ref = refOf(row)
    const error = { code: 'CANCELLED', message: 'the run was cancelled before it started', hint: 'Run again to go on.' }
    const cancelled = await this.options.database.db
      .updateTable('runs')
      .set({ state: 'cancelled', reason: 'cancelled', error: JSON.stringify(error), ended_at: sql<Date>`now()` })
      .where('project_id', '=', row.project_id)
      .where('id', '=', row.id)
      .where('state', '=', 'queued')
      .executeTakeFirst()
    if (Number(cancelled.numUpdatedRows) === 1) {
      this.options.onRun?.(ref, 'cancelled before it began')
      this.options.eventLog.wake(ref)
      this.dispatcher.wake()
      this.onEnded()
    } else if (isEnded(row.state as RunState)) {
      throw new Vm0Error('RUN_ENDED', `run ${id} has ended as ${row.state}`)
    } else {
      this.options.onRun?.(ref, 'a cancel was asked for, the runner is told')
      await this.options.runner.cancel(ref)
    }
    return this.get(by, id)
  }

  async input(projectId: string, id: string, text: string): Promise<void> {
    const row = await this.row(projectId, id)
    if (isEnded(row.state as RunState)) throw new Vm0Error('RUN_ENDED', `run ${id} has ended as ${row.state}`)
    await this.options.runner.input(refOf(row), text)
  }

  async answer(projectId: string, id: string, answer: Answer): Promise<void> {
    const row = await this.row(projectId, id)
    if (isEnded(row.state as RunState)) throw new Vm0Error('RUN_ENDED', `run ${id} has ended as ${row.state}`)
    await this.options.runner.answer(refOf(row), answer)
  }

  /** Events after a cursor; follows an active run to its end. Begin and end are told by the row, whatever became of the log. */
  async events(
    by: Principal,
    id: string,
    options: { after?: string | undefined; follow: boolean; signal: AbortSignal },
  ): Promise<AsyncIterable<Vm0Event>> {
    const row = await this.seen(by, id)
    await this.sessions.row(row.project_id, row.session_id)
    return this.told(row, options)
  }

  private async *told(
    row: Row,
    { after = '0.0', follow, signal }: { after?: string | undefined; follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<Vm0Event> {
    const queued = queuedEvent(row)
    const isNew = compareCursors(after, queued.cursor) < 0
    if (isNew) yield queued
    const ending = async (): Promise<Vm0Event | undefined> => {
      const now = await this.find(row.project_id, row.id)
      return now && endingOf(now)
    }
    yield* this.options.eventLog.read(refOf(row), { after: isNew ? queued.cursor : after, follow, signal, ending })
  }
}

function since({ receivedMs, authorisedMs }: FastifyRequest['arrival']) {
  const createdAtMs = Math.floor(receivedMs)
  return { createdAtMs, timings: { authorisedMs: Math.round((authorisedMs - createdAtMs) * 10) / 10 } }
}

function labelOf(filter: string): Record<string, string> {
  const at = filter.indexOf('=')
  return { [filter.slice(0, at)]: filter.slice(at + 1) }
}

function newSessionOf({ sessionId, from, template, resources, labels, workspaceUpload }: Omit<CreateRunParsed, 'id'>) {
  return { id: sessionId, from, template, resources, labels, ...(from ? {} : { workspaceUpload }) }
}

/** What a session is made with belongs to the session: its first run must not unpack it again. A fork has files already. */
function specOf({ workspaceUpload, ...spec }: Omit<CreateRunParsed, 'id'>, makesSession: boolean): object {
  return (makesSession && !spec.from) || !workspaceUpload ? spec : { ...spec, workspaceUpload }
}

function refOf(row: Row): RunRef {
  return { projectId: row.project_id, sessionId: row.session_id, runId: row.id }
}
