import {
  checkpointPageSchema,
  checkpointSchema,
  createCheckpointSchema,
  idSchema,
  pageOf,
  rollbackSchema,
  sessionSchema,
} from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { requireSight } from '../principal.js'

const ofSession = z.object({ id: idSchema })
/** In full, or its beginning. */
const params = z.object({
  id: z
    .string()
    .regex(/^(sha256:)?[0-9a-f]{8,64}$/, 'expected a checkpoint id: sha256:…, or eight or more of its characters'),
})

export function checkpointRoutes(app: App, { checkpoints, sessions }: Parts): void {
  app.get(
    '/sessions/:id/checkpoints',
    {
      config: { tokens: true },
      schema: { params: ofSession, querystring: checkpointPageSchema, response: { 200: pageOf(checkpointSchema) } },
    },
    (request) => {
      requireSight(request.principal, { sessionId: request.params.id })
      return checkpoints.list(request.projectId, request.params.id, request.query)
    },
  )
  app.post(
    '/sessions/:id/checkpoints',
    { schema: { params: ofSession, body: createCheckpointSchema, response: { 201: checkpointSchema } } },
    async (request, reply) =>
      reply.code(201).send(await checkpoints.create(request.projectId, request.params.id, request.body.name)),
  )
  app.post(
    '/sessions/:id/rollback',
    { schema: { params: ofSession, body: rollbackSchema, response: { 200: sessionSchema } } },
    async (request) => {
      await checkpoints.rollback(request.projectId, request.params.id, request.body.checkpoint)
      return sessions.get(request.projectId, request.params.id)
    },
  )
  app.get('/checkpoints/:id', { schema: { params, response: { 200: checkpointSchema } } }, (request) =>
    checkpoints.get(request.projectId, request.params.id),
  )
}
