export type { WebhookTargets } from './addresses.js'
export { openWebhooks } from './open.js'
export type { DeliveryOutcome } from './sender.js'
export type { Webhooks } from './webhooks.js'
