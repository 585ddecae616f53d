import {
  createWebhookSchema,
  deliveryPageQuerySchema,
  pageOf,
  webhookDeliverySchema,
  webhookIdSchema,
  webhookListSchema,
  webhookSchema,
} from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const params = z.object({ id: webhookIdSchema })
const config = { scope: 'admin' } as const

/** Webhooks: who is told how runs end, and what came of it. */
export function webhookRoutes(app: App, { webhooks }: Parts): void {
  app.get('/webhooks', { config, schema: { response: { 200: webhookListSchema } } }, async (request) => ({
    items: await webhooks.list(request.projectId),
  }))
  app.post(
    '/webhooks',
    {
      config,
      schema: {
        description:
          'Tells an address of the ends of runs, in the form of Standard Webhooks: each message is signed with the secret, which is shown this once.',
        body: createWebhookSchema,
        response: { 201: webhookSchema },
      },
    },
    async (request, reply) => reply.code(201).send(await webhooks.create(request.projectId, request.body)),
  )
  app.delete('/webhooks/:id', { config, schema: { params, response: { 204: z.null() } } }, async (request, reply) => {
    await webhooks.remove(request.projectId, request.params.id)
    return reply.code(204).send(null)
  })
  app.get(
    '/webhooks/:id/deliveries',
    {
      config,
      schema: {
        description:
          'Messages to a webhook, the newest first; those that were settled are kept for a week, at most 1,000.',
        params,
        querystring: deliveryPageQuerySchema,
        response: { 200: pageOf(webhookDeliverySchema) },
      },
    },
    (request) => webhooks.deliveries(request.projectId, request.params.id, request.query),
  )
  app.post(
    '/webhooks/:id/test',
    {
      config,
      schema: {
        description: 'Sends a message `webhook.test` at once, without a second attempt, and tells what came of it.',
        params,
        response: { 200: webhookDeliverySchema },
      },
    },
    (request) => webhooks.test(request.projectId, request.params.id),
  )
}
