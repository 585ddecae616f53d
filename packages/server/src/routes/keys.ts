import {
  createKeySchema,
  createProjectSchema,
  createTokenSchema,
  keySchema,
  pageOf,
  projectIdSchema,
  projectSchema,
  tokenSchema,
  updateProjectSchema,
} from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

const keyId = z.string().max(64)
const pageBefore = <T extends z.ZodType>(id: T) =>
  z.object({ limit: z.coerce.number().int().min(1).max(200).default(50), before: id.optional() })

/** Keys, tokens and projects. */
export function keyRoutes(app: App, { keys, projects, runs, sessions }: Parts): void {
  const admin = { scope: 'admin' } as const
  const installation = { scope: 'installation' } as const
  app.get(
    '/keys',
    { config: admin, schema: { querystring: pageBefore(keyId), response: { 200: pageOf(keySchema) } } },
    (request) => keys.list(request.projectId, request.query),
  )
  app.post(
    '/keys',
    { config: admin, schema: { body: createKeySchema, response: { 201: keySchema } } },
    async (request, reply) => reply.code(201).send(await keys.create(request.principal, request.body)),
  )
  app.delete(
    '/keys/:id',
    { config: admin, schema: { params: z.object({ id: keyId }), response: { 204: z.null() } } },
    async (request, reply) => {
      await keys.revoke(request.projectId, request.params.id)
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/tokens',
    { config: { scope: 'read' }, schema: { body: createTokenSchema, response: { 201: tokenSchema } } },
    async (request, reply) => {
      const { runId, sessionId } = request.body
      if (runId) await runs.get(request.principal, runId)
      if (sessionId) await sessions.row(request.projectId, sessionId)
      return reply.code(201).send(await keys.createToken(request.principal, request.body))
    },
  )

  app.get(
    '/projects',
    {
      config: installation,
      schema: { querystring: pageBefore(projectIdSchema), response: { 200: pageOf(projectSchema) } },
    },
    (request) => projects.list(request.query),
  )
  app.post(
    '/projects',
    { config: installation, schema: { body: createProjectSchema, response: { 201: projectSchema } } },
    async (request, reply) => reply.code(201).send(await projects.create(request.body)),
  )
  app.patch(
    '/projects/:id',
    {
      config: installation,
      schema: {
        params: z.object({ id: projectIdSchema }),
        body: updateProjectSchema,
        response: { 200: projectSchema },
      },
    },
    (request) => projects.update(request.params.id, request.body),
  )
}
