import { z } from 'zod'
import { whySchema } from './insight.js'
import { idSchema, runSchema } from './runs.js'

/** What a webhook may be told: any end of a run, or only that one has died. */
export const webhookEvents = ['run.ended', 'run.died'] as const
export const webhookEventSchema = z.enum(webhookEvents)
export type WebhookEvent = z.infer<typeof webhookEventSchema>
/** What `POST /v1/webhooks/{id}/test` sends. */
export const webhookTestEvent = 'webhook.test'

export const webhookIdSchema = z.string().regex(/^[0-9a-f]{12}$/, 'expected the id of a webhook: 12 hexadecimal digits')

/** `whsec_` and 24 to 64 bytes in base64. */
const secretSchema = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]{32,86}={0,2}$/, 'expected whsec_ and 24 to 64 bytes in base64')

export const createWebhookSchema = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: 'expected an address that begins with https://, or http://' })
    .max(2048)
    .refine((url) => !hasCredentials(url), 'expected an address without a user name and password'),
  events: z.array(webhookEventSchema).min(1).max(webhookEvents.length).default(['run.ended']),
  /** What messages are signed with; made where none is given. */
  secret: secretSchema.optional(),
  /** For people. */
  description: z.string().max(200).default(''),
})
export type CreateWebhook = z.input<typeof createWebhookSchema>
export type CreateWebhookParsed = z.infer<typeof createWebhookSchema>

export const webhookSchema = z.object({
  id: webhookIdSchema,
  url: z.string(),
  events: z.array(webhookEventSchema),
  description: z.string(),
  createdAt: z.iso.datetime(),
  /** Messages that wait for their first or next attempt. */
  pending: z.int(),
  /** Messages that were given up, of those that are kept. */
  failed: z.int(),
  /** What messages are signed with: in the answer that makes the webhook, and never again. */
  secret: z.string().optional(),
})
export type WebhookView = z.infer<typeof webhookSchema>

/** One message to one webhook. */
export const webhookDeliverySchema = z.object({
  /** The header `webhook-id`: the same at every attempt. */
  id: idSchema,
  webhookId: webhookIdSchema,
  event: z.enum([...webhookEvents, webhookTestEvent]),
  /** Null of a test. */
  runId: idSchema.nullable(),
  /** `pending` is tried, or tried again; `failed` is not any more. */
  state: z.enum(['pending', 'delivered', 'failed']),
  attempts: z.int(),
  /** HTTP status that the last attempt was answered with; null where none came. */
  status: z.int().nullable(),
  /** Why the last attempt failed. */
  error: z.string().nullable(),
  createdAt: z.iso.datetime(),
  /** When it is tried next; null once it is settled. */
  nextAttemptAt: z.iso.datetime().nullable(),
  settledAt: z.iso.datetime().nullable(),
})
export type WebhookDelivery = z.infer<typeof webhookDeliverySchema>

/** What is told of a run: how it ended and why, without what it was asked and what it answered. */
export const webhookRunSchema = z.object({
  project: z.string(),
  run: runSchema.omit({ text: true, output: true }),
  /** As `GET /v1/runs/{id}/why` has it; null of a run that succeeded, or whose session was deleted since. */
  why: whySchema
    .pick({ cause: true, certainty: true, culprit: true, next: true })
    .extend({ story: z.string() })
    .nullable(),
})

/** The body of a message, in the form of Standard Webhooks. */
export const webhookMessageSchema = z.discriminatedUnion('type', [
  z.object({ type: webhookEventSchema, timestamp: z.iso.datetime(), data: webhookRunSchema }),
  z.object({
    type: z.literal(webhookTestEvent),
    timestamp: z.iso.datetime(),
    data: z.object({ project: z.string(), webhookId: webhookIdSchema }),
  }),
])
export type WebhookMessage = z.infer<typeof webhookMessageSchema>

export const webhookListSchema = z.object({ items: z.array(webhookSchema) })

export const deliveryPageQuerySchema = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  before: idSchema.optional(),
})

function hasCredentials(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { username, password } = new URL(text)
  return username !== '' || password !== ''
}
