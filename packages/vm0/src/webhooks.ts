import type { CreateWebhook, WebhookDelivery, WebhookView } from '@vm0/contract/client'
import type { Http } from './http.js'
import { query, type Page } from './page.js'

/**
 * Who is told how runs of the project end. Needs a key with the scope `admin`.
 *
 * @example
 * const hooks = await vm0.webhooks.list()
 */
export class Webhooks {
  /** @internal */
  constructor(private readonly http: Http) {}

  /**
   * Tells an address of each end of a run (`run.ended`, the default), or only that one has died (`run.died`), signed with
   * the `secret` in the answer, which is shown this once: give it to `verifyWebhook`. Throws WEBHOOK_TARGET_REFUSED for an
   * address that is not on the public internet, WEBHOOK_LIMIT for more than ten.
   *
   * @example
   * const { id, secret } = await vm0.webhooks.create('https://hooks.example/vm0', { events: ['run.died'] })
   * await vm0.webhooks.remove(id)
   */
  create(url: string, options: Omit<CreateWebhook, 'url'> = {}): Promise<WebhookView> {
    return this.http.json('/webhooks', { method: 'POST', json: { ...options, url }, retry: false })
  }

  /**
   * The webhooks of the project, the newest first, with how many messages wait and how many were given up.
   *
   * @example
   * for (const { id, url, pending, failed } of await vm0.webhooks.list()) console.log(id, url, pending, failed)
   */
  async list(): Promise<WebhookView[]> {
    return (await this.http.json<{ items: WebhookView[] }>('/webhooks')).items
  }

  /**
   * Removes a webhook, with the messages that wait for it. Throws NOT_FOUND.
   *
   * @example
   * const { id } = await vm0.webhooks.create('https://hooks.example/vm0')
   * await vm0.webhooks.remove(id)
   */
  remove(id: string): Promise<void> {
    return this.http.json(`/webhooks/${id}`, { method: 'DELETE' })
  }

  /**
   * Messages to a webhook, the newest first: what came of each, how often it was tried, when it is tried next.
   *
   * @example
   * const { id } = await vm0.webhooks.create('https://hooks.example/vm0')
   * const { items } = await vm0.webhooks.deliveries(id, { limit: 10 })
   * for (const { event, state, attempts, error } of items) console.log(event, state, attempts, error)
   * await vm0.webhooks.remove(id)
   */
  deliveries(id: string, options: { limit?: number; before?: string } = {}): Promise<Page<WebhookDelivery>> {
    return this.http.json(`/webhooks/${id}/deliveries${query(options)}`)
  }

  /**
   * Sends `webhook.test` at once, without a second attempt: `state` says whether it was taken, `error` why not.
   *
   * @example
   * const { id } = await vm0.webhooks.create('https://hooks.example/vm0')
   * const { state, error } = await vm0.webhooks.test(id)
   * await vm0.webhooks.remove(id)
   */
  test(id: string): Promise<WebhookDelivery> {
    return this.http.json(`/webhooks/${id}/test`, { method: 'POST', retry: false })
  }
}
