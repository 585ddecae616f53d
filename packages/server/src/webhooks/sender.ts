import { webhookSignature, webhookTestEvent, type WebhookEvent, type WebhookMessage } from '@vm0/contract'
import { choose, defaultBounds, type Due } from './choose.js'
import type { DeliveryRow, Outbox } from './outbox.js'
import { post, type Answer } from './post.js'
import type { WebhookTargets } from './addresses.js'
import { pauseBefore } from './schedule.js'

/** What became of an attempt: the message was taken, will be tried again, or was given up. */
export type DeliveryOutcome = 'delivered' | 'retried' | 'failed'

export interface Target {
  url: string
  secret: string
}

export interface SenderOptions {
  outbox: Outbox
  targets: WebhookTargets
  /** Undefined where the webhook was removed. */
  targetOf(projectId: string, webhookId: string): Promise<Target | undefined>
  messageOf(type: WebhookEvent, projectId: string, runId: string): Promise<WebhookMessage>
  onOutcome(outcome: DeliveryOutcome): void
  onError(error: unknown): void
}

/** What another server has queued, or was left by one that is gone, is found after this at the latest. */
const longestRestMs = 30_000
/** The database could not be asked. */
const restAfterErrorMs = 1_000
const sweepEveryMs = 3_600_000

/**
 * Sends what the outbox has: so many at once, each again until it was taken or given up. Nothing waits for it, and what it
 * has not told when its process ends is told by the next one; so a message may come twice.
 */
export class WebhookSender {
  private readonly onTheWay = new Map<string, Due & { done: Promise<void> }>()
  private readonly ending = new AbortController()
  private wanted = false
  private pumping: Promise<void> | undefined
  private timer: NodeJS.Timeout | undefined
  private sweptAtMs = performance.now()

  constructor(private readonly options: SenderOptions) {}

  /** Something may be due now. */
  wake = (): void => {
    if (this.ending.signal.aborted) return
    this.wanted = true
    this.pumping ??= this.pump().finally(() => {
      this.pumping = undefined
      if (this.wanted) this.wake()
    })
  }

  async close(): Promise<void> {
    this.ending.abort(new Error('the platform stops'))
    clearTimeout(this.timer)
    await this.pumping
    await Promise.all([...this.onTheWay.values()].map(({ done }) => done))
  }

  /** Whether one more message to this webhook may be on its way. */
  hasRoom(one: Due): boolean {
    return choose([one], this.onTheWay.values(), defaultBounds).length > 0
  }

  /** One attempt of a message that was taken, which is not tried again; gives what is known of it then. */
  async sendOnce(row: DeliveryRow): Promise<DeliveryRow | undefined> {
    let settled: DeliveryRow | undefined
    await this.track(row, async () => {
      const answer = await this.attempt(row)
      settled = await this.options.outbox.settle(row, isTaken(answer) ? 'delivered' : 'failed', shown(answer))
      this.options.onOutcome(isTaken(answer) ? 'delivered' : 'failed')
    })
    return settled
  }

  private async pump(): Promise<void> {
    const { outbox } = this.options
    while (this.wanted && !this.ending.signal.aborted) {
      this.wanted = false
      clearTimeout(this.timer)
      let restMs = longestRestMs
      try {
        let nextMs = await outbox.nextInMs()
        // After most runs nobody is to be told: that takes no more than this one question.
        if (nextMs === 0) {
          await this.takeDue()
          nextMs = await outbox.nextInMs()
        }
        if (performance.now() - this.sweptAtMs > sweepEveryMs) {
          this.sweptAtMs = performance.now()
          await outbox.sweep()
        }
        // What waits for room is looked at when something has come to its end.
        if (nextMs !== undefined && (nextMs > 0 || this.onTheWay.size === 0)) restMs = Math.min(restMs, nextMs)
      } catch (error) {
        restMs = restAfterErrorMs
        this.failed(error)
      }
      if (!this.ending.signal.aborted) this.timer = setTimeout(this.wake, restMs).unref()
    }
  }

  private async takeDue(): Promise<void> {
    const { outbox } = this.options
    const onTheWay = [...this.onTheWay.values()]
    for (const due of choose(await outbox.due(onTheWay, defaultBounds), onTheWay, defaultBounds)) {
      const row = this.ending.signal.aborted ? undefined : await outbox.take(due)
      if (row) void this.track(row, () => this.deliver(row))
    }
  }

  /** Counts it among what is on its way until it has come to its end. */
  private track(row: DeliveryRow, work: () => Promise<void>): Promise<void> {
    const { id, project_id: projectId, webhook_id: webhookId } = row
    const done = work()
      .catch((error: unknown) => this.failed(error))
      .finally(() => {
        this.onTheWay.delete(id)
        this.wake()
      })
    this.onTheWay.set(id, { id, projectId, webhookId, done })
    return done
  }

  private failed(error: unknown): void {
    if (!this.ending.signal.aborted) this.options.onError(error)
  }

  private async deliver(row: DeliveryRow): Promise<void> {
    const { outbox, onOutcome } = this.options
    const answer = await this.attempt(row)
    if (isTaken(answer)) {
      await outbox.settle(row, 'delivered', shown(answer))
      return onOutcome('delivered')
    }
    if (this.ending.signal.aborted) return void (await outbox.tryAgain(row, 0, shown(answer)))
    const pauseMs =
      row.event === webhookTestEvent
        ? undefined
        : pauseBefore({ attempts: row.attempts, ageMs: await outbox.ageMs(row) }, Math.random())
    if (pauseMs === undefined) await outbox.settle(row, 'failed', shown(answer))
    else await outbox.tryAgain(row, pauseMs, shown(answer))
    onOutcome(pauseMs === undefined ? 'failed' : 'retried')
  }

  private async attempt(row: DeliveryRow): Promise<Answer> {
    const { targetOf, messageOf, targets } = this.options
    const { id, project_id: projectId, webhook_id: webhookId, run_id: runId } = row
    const target = await targetOf(projectId, webhookId)
    if (!target) return { status: null, error: 'the webhook was removed' }
    const message: WebhookMessage =
      runId === null
        ? {
            type: webhookTestEvent,
            timestamp: new Date(row.created_at).toISOString(),
            data: { project: projectId, webhookId },
          }
        : await messageOf(row.event as WebhookEvent, projectId, runId)
    const body = JSON.stringify(message)
    const timestampS = Math.floor(Date.now() / 1000)
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'VM0-Webhooks',
      'webhook-id': id,
      'webhook-timestamp': String(timestampS),
      'webhook-signature': webhookSignature(target.secret, id, timestampS, body),
    }
    return post({ url: target.url, headers, body, targets, signal: this.ending.signal })
  }
}

function isTaken({ status }: Answer): boolean {
  return status !== null && status >= 200 && status < 300
}

/** What people are told of an attempt; nothing of what the answer said, which may be of a host that they must not see. */
function shown(answer: Answer): { status: number | null; error: string | null } {
  if (isTaken(answer) || answer.status === null) return answer
  const { status } = answer
  const isRedirect = status >= 300 && status < 400
  return { status, error: `answered ${status}${isRedirect ? ', and redirects are not followed' : ''}; expected 2xx` }
}
