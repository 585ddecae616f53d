import {
  buildTemplateSchema,
  idSchema,
  imageTemplateQuerySchema,
  promoteTemplateSchema,
  sessionTemplateSchema,
  templateListSchema,
  templateNameSchema,
  templateSchema,
  upgradeReportSchema,
  upgradeSessionSchema,
  type TemplateOutput,
} from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'
import { readOn } from './read-on.js'
import { answerLines } from './work-lines.js'

const params = z.object({ name: templateNameSchema })
const versionParams = params.extend({ version: z.coerce.number().int().min(1) })
const produces = ['application/x-ndjson']
/** The store's own bound comes first. */
const maxImageBytes = 2 ** 40
/** A recipe's commands may be long. */
const bodyLimit = 16 * 1024 ** 2

/** Templates of the project. A build takes as long as its steps: the answer is NDJSON. */
export function templateRoutes(app: App, { templates, builds, upgrades, sessions, storage, options }: Parts): void {
  app.get('/templates', { schema: { response: { 200: templateListSchema } } }, (request) =>
    templates.list(request.projectId),
  )
  app.get('/templates/:name', { schema: { params, response: { 200: templateSchema } } }, (request) =>
    templates.get(request.projectId, request.params.name),
  )
  app.post(
    '/templates/:name/versions',
    { schema: { params, body: buildTemplateSchema, produces }, bodyLimit },
    async (request, reply) => {
      await storage.requireRoom(request.projectId)
      return answerLines<TemplateOutput>(reply, async (call) => ({
        type: 'built',
        template: await builds.build(request.projectId, request.params.name, request.body, call),
      }))
    },
  )
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    ;(scope as unknown as App).post(
      '/templates/:name/image',
      { schema: { params, querystring: imageTemplateQuerySchema, produces }, bodyLimit: maxImageBytes },
      async (request, reply) => {
        const { projectId, params: given, query } = request
        await storage.requireRoom(projectId)
        // All of it is here and checked before the answer begins.
        const image = await options.templates
          .receiveImage(request.raw.iterator({ destroyOnReturn: false }))
          .catch(async (error: unknown) => {
            await readOn(request.raw)
            throw error
          })
        return answerLines<TemplateOutput>(reply, async (call) => {
          try {
            const template = await builds.fromImage(projectId, given.name, { image, ...query }, call)
            return { type: 'built', template }
          } finally {
            await image.close()
          }
        })
      },
    )
  })
  app.post(
    '/sessions/:id/template',
    { schema: { params: z.object({ id: idSchema }), body: sessionTemplateSchema, produces } },
    async (request, reply) => {
      const { projectId, params: given, body } = request
      await sessions.row(projectId, given.id)
      await storage.requireRoom(projectId)
      return answerLines<TemplateOutput>(reply, async (call) => ({
        type: 'built',
        template: await builds.fromSession({ projectId, sessionId: given.id }, body, call),
      }))
    },
  )
  app.post(
    '/sessions/:id/upgrade',
    {
      schema: {
        params: z.object({ id: idSchema }),
        body: upgradeSessionSchema,
        response: { 200: upgradeReportSchema },
      },
    },
    (request, reply) => {
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      const { projectId, params: given, body } = request
      return upgrades.upgrade({ projectId, sessionId: given.id, ...body }, gone.signal)
    },
  )
  app.post(
    '/templates/:name/promote',
    { schema: { params, body: promoteTemplateSchema, response: { 200: templateSchema } } },
    (request) => templates.promote(request.projectId, request.params.name, request.body.version),
  )
  app.post('/templates/:name/rollback', { schema: { params, response: { 200: templateSchema } } }, (request) =>
    templates.rollback(request.projectId, request.params.name),
  )
  app.delete('/templates/:name', { schema: { params, response: { 204: z.null() } } }, async (request, reply) => {
    await templates.remove(request.projectId, request.params.name)
    return reply.code(204).send(null)
  })
  app.delete(
    '/templates/:name/versions/:version',
    { schema: { params: versionParams, response: { 204: z.null() } } },
    async (request, reply) => {
      await templates.remove(request.projectId, request.params.name, request.params.version)
      return reply.code(204).send(null)
    },
  )
}
