import { randomBytes } from 'node:crypto'
import type { Database, Schema, SecretsPort } from '@vm0/backends'
import {
  Vm0Error,
  webhookTestEvent,
  type CreateWebhookParsed,
  type WebhookDelivery,
  type WebhookEvent,
  type WebhookView,
} from '@vm0/contract'
import { sql, type Selectable } from 'kysely'
import { time } from '../views.js'
import { mayReach, type WebhookTargets } from './addresses.js'
import { addressesOf } from './resolve.js'
import type { DeliveryRow, Outbox } from './outbox.js'
import type { Target, WebhookSender } from './sender.js'

const maxWebhooks = 10
/** A name is looked up for this long before it is taken as it is. */
const lookUpMs = 2_000

type Row = Selectable<Schema['webhooks']>

export interface WebhooksOptions {
  database: Database
  secrets: SecretsPort
  outbox: Outbox
  targets: WebhookTargets
}

/** The webhooks of projects, and what became of the messages to each. */
export class Webhooks {
  constructor(
    private readonly options: WebhooksOptions,
    private readonly sender: WebhookSender,
  ) {}

  async create(projectId: string, { url, events, secret, description }: CreateWebhookParsed): Promise<WebhookView> {
    const target: Target = { url: new URL(url).href, secret: secret ?? `whsec_${randomBytes(32).toString('base64')}` }
    await this.requireAllowed(target.url)
    const row = await this.options.database.db.transaction().execute(async (trx) => {
      // Of two that come at once one waits, so that both are counted.
      await trx.selectFrom('projects').select('id').where('id', '=', projectId).forNoKeyUpdate().execute()
      const { count } = await trx
        .selectFrom('webhooks')
        .select((eb) => eb.fn.countAll<string>().as('count'))
        .where('project_id', '=', projectId)
        .executeTakeFirstOrThrow()
      if (Number(count) >= maxWebhooks)
        throw new Vm0Error('WEBHOOK_LIMIT', `the project has ${maxWebhooks} webhooks, which is as many as it may have`)
      return trx
        .insertInto('webhooks')
        .values({
          project_id: projectId,
          id: randomBytes(6).toString('hex'),
          target: this.options.secrets.seal(JSON.stringify(target)),
          events: [...new Set(events)],
          description,
        })
        .returningAll()
        .executeTakeFirstOrThrow()
    })
    return { ...this.view(row, { pending: 0, failed: 0 }), secret: target.secret }
  }

  /** Early, where it can be known early; what a name leads to later is looked at again at each attempt. */
  private async requireAllowed(url: string): Promise<void> {
    const { targets } = this.options
    const { hostname, protocol } = new URL(url)
    if (protocol !== 'https:' && targets !== 'any')
      throw new Vm0Error(
        'WEBHOOK_TARGET_REFUSED',
        `${url} is not encrypted; expected an address that begins with https://`,
      )
    const addresses = await addressesOf(hostname, AbortSignal.timeout(lookUpMs)).catch(() => [])
    const refused = addresses.filter((address) => !mayReach(address, targets))
    if (addresses.length > 0 && refused.length === addresses.length)
      throw new Vm0Error(
        'WEBHOOK_TARGET_REFUSED',
        `${hostname} leads to ${refused[0]}, where no webhook of this installation may go`,
        targets === 'any'
          ? { hint: 'Give an address of a host: those of clouds and networks themselves are never targets.' }
          : {},
      )
  }

  async list(projectId: string): Promise<WebhookView[]> {
    const { db } = this.options.database
    const rows = await db
      .selectFrom('webhooks')
      .selectAll()
      .where('project_id', '=', projectId)
      .orderBy('position', 'desc')
      .execute()
    const counts = await db
      .selectFrom('webhook_deliveries')
      .select([
        'webhook_id',
        sql<string>`count(*) filter (where state = 'pending')`.as('pending'),
        sql<string>`count(*) filter (where state = 'failed')`.as('failed'),
      ])
      .where('project_id', '=', projectId)
      .groupBy('webhook_id')
      .execute()
    return rows.map((row) => {
      const { pending = 0, failed = 0 } = counts.find(({ webhook_id: id }) => id === row.id) ?? {}
      return this.view(row, { pending: Number(pending), failed: Number(failed) })
    })
  }

  /** With what waits for it. */
  async remove(projectId: string, id: string): Promise<void> {
    const removed = await this.options.database.db
      .deleteFrom('webhooks')
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
    if (Number(removed.numDeletedRows) === 0) throw notFound(id)
  }

  async deliveries(projectId: string, id: string, { limit, before }: { limit: number; before?: string | undefined }) {
    await this.row(projectId, id)
    let query = this.options.database.db
      .selectFrom('webhook_deliveries')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('webhook_id', '=', id)
      .orderBy('position', 'desc')
      .limit(limit + 1)
    if (before) query = query.where('position', '<', await this.positionOf(projectId, id, before))
    const rows = await query.execute()
    const items = rows.slice(0, limit).map(deliveryView)
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  /** Sends a message of no run at once, and tells what came of it. */
  async test(projectId: string, id: string): Promise<WebhookDelivery> {
    await this.row(projectId, id)
    if (!this.sender.hasRoom({ projectId, webhookId: id, id: '' }))
      throw new Vm0Error('RATE_LIMITED', 'too many messages are on their way to this webhook', {
        details: { retryAfterMs: 1_000 },
      })
    const row = await this.options.outbox.addTest(projectId, id, webhookTestEvent)
    return deliveryView((await this.sender.sendOnce(row)) ?? row)
  }

  async targetOf(projectId: string, id: string): Promise<Target | undefined> {
    const row = await this.find(projectId, id)
    return row && this.target(row)
  }

  private target({ target }: Row): Target {
    return JSON.parse(this.options.secrets.open(target)) as Target
  }

  private find(projectId: string, id: string): Promise<Row | undefined> {
    return this.options.database.db
      .selectFrom('webhooks')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
  }

  private async row(projectId: string, id: string): Promise<Row> {
    const row = await this.find(projectId, id)
    if (!row) throw notFound(id)
    return row
  }

  private async positionOf(projectId: string, webhookId: string, id: string): Promise<number> {
    const row = await this.options.database.db
      .selectFrom('webhook_deliveries')
      .select('position')
      .where('project_id', '=', projectId)
      .where('webhook_id', '=', webhookId)
      .where('id', '=', id)
      .executeTakeFirst()
    if (!row) throw new Vm0Error('NOT_FOUND', `delivery ${id} does not exist, or was forgotten`)
    return Number(row.position)
  }

  private view(row: Row, counts: { pending: number; failed: number }): WebhookView {
    return {
      id: row.id,
      url: this.target(row).url,
      events: row.events as WebhookEvent[],
      description: row.description,
      createdAt: time(row.created_at),
      ...counts,
    }
  }
}

function notFound(id: string): Vm0Error {
  return new Vm0Error('NOT_FOUND', `webhook ${id} does not exist in this project`, {
    hint: '`vm0 webhooks` lists those that there are.',
  })
}

function deliveryView(row: DeliveryRow): WebhookDelivery {
  return {
    id: row.id,
    webhookId: row.webhook_id,
    event: row.event as WebhookDelivery['event'],
    runId: row.run_id,
    state: row.state as WebhookDelivery['state'],
    attempts: row.attempts,
    status: row.status,
    error: row.error,
    createdAt: time(row.created_at),
    nextAttemptAt: row.state === 'pending' ? time(row.next_at) : null,
    settledAt: row.settled_at ? time(row.settled_at) : null,
  }
}
