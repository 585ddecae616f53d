import type { Database } from '@vm0/backends'
import { Vm0Error, type Shadowed, type StoredTemplate, type UpgradeReport } from '@vm0/contract'
import { sql } from 'kysely'
import { findCheckpoint } from '../checkpoints.js'
import type { ServerOptions } from '../options.js'
import type { Sessions } from '../sessions.js'
import type { Templates } from './templates.js'

interface Wanted {
  projectId: string
  sessionId: string
  template: string
  dryRun: boolean
}

const nothing: Shadowed = { items: [], more: false }

/** Moves sessions to other templates: what they have of their own stays, as layers over the new one. */
export class Upgrades {
  constructor(
    private readonly options: ServerOptions,
    private readonly sessions: Sessions,
    private readonly templates: Templates,
  ) {}

  /**
   * Saves the session, then moves it by one more checkpoint, so that a rollback undoes it. Throws SESSION_BUSY or
   * UNKNOWN_TEMPLATE.
   */
  async upgrade(wanted: Wanted, signal: AbortSignal): Promise<UpgradeReport> {
    const { projectId, sessionId, dryRun } = wanted
    const { runner } = this.options
    await this.sessions.requireIdle(projectId, sessionId)
    const ref = { projectId, sessionId }
    // Known before anything is saved or freed.
    const { digest: to } = await this.resolve(wanted)
    await (dryRun ? runner.save(ref) : runner.close(ref))
    const { template: from, head } = await this.sessions.row(projectId, sessionId)
    const same = from === to
    const report = { sessionId, from, to, before: head, head, shadowed: nothing, merged: [] }
    if (same) return { ...report, moved: false }
    if (head === null)
      return {
        ...report,
        moved: !dryRun,
        head: dryRun ? null : await this.move(wanted, { from, head, to, layer: null }),
      }
    const pair = { projectId, checkpoint: head, template: to }
    const { templates } = this.options
    const hidden = await templates.shadowed(pair, signal)
    const { paths: merged, layer } = await templates.merged({ ...pair, store: !dryRun }, signal)
    const items = hidden.items.filter(({ path }) => !merged.includes(path))
    const told = { ...report, shadowed: { ...hidden, items }, merged }
    if (dryRun) return { ...told, moved: false }
    return { ...told, moved: true, head: await this.move(wanted, { from, head, to, layer }) }
  }

  private resolve({ projectId, template }: Wanted, db: Database['db'] = this.options.database.db) {
    return this.templates.resolve(projectId, template, db)
  }

  /** All or nothing: only from the state that was looked at. */
  private async move(
    wanted: Wanted,
    { from, head, to, layer }: { from: string; head: string | null; to: string; layer: StoredTemplate | null },
  ): Promise<string | null> {
    const { projectId, sessionId } = wanted
    const next = await this.options.database.db.transaction().execute(async (trx) => {
      const row = await this.sessions.lock(projectId, sessionId, trx)
      await this.sessions.requireIdle(projectId, sessionId, trx)
      // Held, so that nobody removes the template meanwhile.
      const { digest } = await this.resolve({ ...wanted, template: to }, trx)
      if (row.head !== head || row.template !== from || digest !== to)
        throw new Vm0Error('SESSION_BUSY', `session ${sessionId} was changed meanwhile; expected it to be idle`)
      const epoch = Number(row.epoch) + 1
      const checkpoint =
        head === null ? null : await this.addCheckpoint(wanted, head, { template: to, epoch, layer }, trx)
      await trx
        .updateTable('sessions')
        .set({
          template: to,
          head: checkpoint,
          epoch,
          // Whoever holds a sandbox over the old template can't save it any more.
          runner_id: null,
          updated_at: sql<Date>`now()`,
        } as never)
        .where('project_id', '=', projectId)
        .where('id', '=', sessionId)
        .execute()
      return checkpoint
    })
    await this.options.runner.discard({ projectId, sessionId })
    return next
  }

  private async addCheckpoint(
    { projectId, sessionId }: Wanted,
    head: string,
    { layer, ...to }: { template: string; epoch: number; layer: StoredTemplate | null },
    trx: Database['db'],
  ): Promise<string> {
    const { framework, agent_session_id } = await findCheckpoint(projectId, head, trx)
    const id = await this.options.templates.upgrade({ projectId, sessionId, checkpoint: head, layer, ...to })
    await trx
      .insertInto('checkpoints')
      .values({
        project_id: projectId,
        id,
        session_id: sessionId,
        parent: head,
        cause: 'upgrade',
        size_bytes: layer?.sizeBytes ?? 0,
        ...to,
        framework,
        agent_session_id,
      } as never)
      .execute()
    return id
  }
}
