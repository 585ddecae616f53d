import type { Database, Schema } from '@vm0/backends'
import { sql, type Selectable } from 'kysely'
import { fullProjects, type Bounds, type Due } from './choose.js'

export type DeliveryRow = Selectable<Schema['webhook_deliveries']>

/** While an attempt is on its way its row is due only after this: an attempt that nobody ended is made again. */
const leaseMs = 30_000
const keptDays = 7
const keptOfWebhook = 1_000

const inMs = (ms: number) => sql<Date>`now() + ${ms}::float8 * interval '1 millisecond'`

/** The queue of messages: rows that the ends of runs wrote, each taken by one server at a time, and kept until it is settled. */
export class Outbox {
  constructor(private readonly database: Database) {}

  /** What is due, the longest waiting first: of each webhook no more than there is room for. */
  async due(onTheWay: readonly Due[], bounds: Bounds): Promise<Due[]> {
    const full = fullProjects(onTheWay, bounds)
    const { rows } = await sql<{ project_id: string; webhook_id: string; id: string }>`
      select d.project_id, d.webhook_id, d.id from webhooks w cross join lateral (
        select project_id, webhook_id, id, next_at, position from webhook_deliveries
        where project_id = w.project_id and webhook_id = w.id and state = 'pending' and next_at <= now()
        order by next_at, position limit ${bounds.perWebhook}
      ) d where w.project_id <> all(${full}::text[]) order by d.next_at, d.position limit 500`.execute(this.database.db)
    return rows.map((row) => ({ projectId: row.project_id, webhookId: row.webhook_id, id: row.id }))
  }

  /** Takes one for an attempt; undefined where another server has. */
  async take({ projectId, id }: Due): Promise<DeliveryRow | undefined> {
    return this.database.db
      .updateTable('webhook_deliveries')
      .set({ attempts: sql<number>`attempts + 1`, next_at: inMs(leaseMs) })
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .where('state', '=', 'pending')
      .where('next_at', '<=', sql<Date>`now()`)
      .returningAll()
      .executeTakeFirst()
  }

  /** A message of no run, taken for its first attempt. */
  async addTest(projectId: string, webhookId: string, event: string): Promise<DeliveryRow> {
    return this.database.db
      .insertInto('webhook_deliveries')
      .values({
        project_id: projectId,
        webhook_id: webhookId,
        id: crypto.randomUUID(),
        event,
        attempts: 1,
        next_at: inMs(leaseMs),
      })
      .returningAll()
      .executeTakeFirstOrThrow()
  }

  /** How old a message is, by the database's clock. */
  async ageMs({ project_id: projectId, id }: DeliveryRow): Promise<number> {
    const row = await this.database.db
      .selectFrom('webhook_deliveries')
      .select(sql<number | string>`extract(epoch from now() - created_at)::float8 * 1000`.as('age_ms'))
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
    return Number(row?.age_ms ?? 0)
  }

  settle(row: DeliveryRow, state: 'delivered' | 'failed', answer: { status: number | null; error: string | null }) {
    return this.write(row, { ...answer, state, settled_at: sql<Date>`now()` as never })
  }

  tryAgain(row: DeliveryRow, inPauseMs: number, answer: { status: number | null; error: string | null }) {
    return this.write(row, { ...answer, next_at: inMs(inPauseMs) as never })
  }

  /** Unless it was taken anew since. */
  private async write(row: DeliveryRow, values: object): Promise<DeliveryRow | undefined> {
    return this.database.db
      .updateTable('webhook_deliveries')
      .set(values)
      .where('project_id', '=', row.project_id)
      .where('id', '=', row.id)
      .where('attempts', '=', row.attempts)
      .where('state', '=', 'pending')
      .returningAll()
      .executeTakeFirst()
  }

  /** Until something is due, in milliseconds; undefined where nothing waits. */
  async nextInMs(): Promise<number | undefined> {
    const row = await this.database.db
      .selectFrom('webhook_deliveries')
      .select(sql<number | string | null>`extract(epoch from min(next_at) - now())::float8 * 1000`.as('in_ms'))
      .where('state', '=', 'pending')
      .executeTakeFirst()
    return row?.in_ms === null || row === undefined ? undefined : Math.max(0, Number(row.in_ms))
  }

  /** Forgets what was settled long ago, and of each webhook all but the newest. */
  async sweep(): Promise<void> {
    await sql`
      delete from webhook_deliveries d where state <> 'pending' and (
        settled_at < now() - ${keptDays}::float8 * interval '1 day' or position <= (
          select position from webhook_deliveries n where n.project_id = d.project_id and n.webhook_id = d.webhook_id
          order by position desc offset ${keptOfWebhook} limit 1))`.execute(this.database.db)
  }
}
