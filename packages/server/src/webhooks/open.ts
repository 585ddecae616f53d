import type { ServerOptions } from '../options.js'
import type { Runs } from '../runs.js'
import { Outbox } from './outbox.js'
import { runMessage } from './run-message.js'
import { WebhookSender } from './sender.js'
import { Webhooks } from './webhooks.js'

/** The webhooks of a server, and who sends to them. */
export function openWebhooks(
  { database, secrets, webhooks: { targets, onOutcome }, onError }: ServerOptions,
  runs: Runs,
): { webhooks: Webhooks; sender: WebhookSender } {
  const outbox = new Outbox(database)
  const sender: WebhookSender = new WebhookSender({
    outbox,
    targets,
    targetOf: (projectId, id) => webhooks.targetOf(projectId, id),
    messageOf: (type, projectId, runId) => runMessage(runs, type, projectId, runId),
    onOutcome: (outcome) => onOutcome?.(outcome),
    onError: (error) => onError?.(error),
  })
  const webhooks: Webhooks = new Webhooks({ database, secrets, outbox, targets }, sender)
  return { webhooks, sender }
}
