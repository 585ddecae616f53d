import type { IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'
import swagger from '@fastify/swagger'
import { toProblem, toVm0Error, Vm0Error } from '@vm0/contract'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import {
  createJsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { Dispatcher } from './dispatcher.js'
import { readJsonBodies } from './json-body.js'
import { Keys } from './keys.js'
import type { ServerOptions } from './options.js'
import { runRoutes } from './routes/runs.js'
import { sandboxRoutes } from './routes/sandbox.js'
import { otherRoutes } from './routes/other.js'
import { Runs } from './runs.js'
import { Sessions } from './sessions.js'

declare module 'fastify' {
  interface FastifyRequest {
    projectId: string
  }
}

export interface Parts {
  options: ServerOptions
  keys: Keys
  sessions: Sessions
  runs: Runs
}
export type App = FastifyInstance<any, any, any, any, ZodTypeProvider>

export interface Server {
  app: FastifyInstance
  keys: Keys
  /** Something may be able to start now: room on the runner, or runs that were queued before a restart. */
  dispatch(): void
  close(): Promise<void>
}

const maxBodyBytes = 4 * 1024 ** 2
const maxSwallowBytes = 64 * 1024 ** 2
const maxSwallowMs = 5_000

export async function createServer(options: ServerOptions): Promise<Server> {
  const dispatcher = new Dispatcher(options)
  const keys = new Keys(options.database)
  const sessions = new Sessions(options)
  const runs = new Runs(options, sessions, dispatcher.wake)
  const parts: Parts = { options, keys, sessions, runs }

  const app = Fastify({
    bodyLimit: maxBodyBytes,
    genReqId: () => crypto.randomUUID(),
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 8192 },
  }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  readJsonBodies(app as unknown as FastifyInstance)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'VM0', version: '1', description: 'Serverless infrastructure for coding agents' },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: createJsonSchemaTransform({ skipList: ['/healthz', '/readyz', '/v1/openapi.json'] }),
  })
  app.setErrorHandler(async (thrown: FastifyError, request, reply) => {
    const error = asVm0Error(thrown)
    if (error.code === 'REQUEST_TOO_LARGE') await swallowRest(request.raw)
    if (error.code === 'INTERNAL') options.onError?.(thrown)
    return reply
      .code(error.status)
      .type('application/problem+json')
      .serializer(JSON.stringify)
      .send(toProblem(error, request.id))
  })
  app.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .type('application/problem+json')
      .send(
        toProblem(
          new Vm0Error('NOT_FOUND', `${request.method} ${request.url.slice(0, 200)} is no call of this API`),
          request.id,
        ),
      ),
  )
  app.addHook('onSend', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  app.get('/healthz', async () => ({ ok: true }))
  app.get('/readyz', async () => {
    await options.database.db.selectFrom('projects').select('id').limit(1).execute()
    return { ok: true }
  })
  app.get('/v1/openapi.json', async () => app.swagger())
  await app.register(
    async (scope) => {
      scope.decorateRequest('projectId', '')
      scope.addHook('onRequest', async (request) => {
        const key = /^Bearer (\S{1,200})$/.exec(request.headers.authorization ?? '')?.[1]
        const projectId = key ? await keys.project(key) : undefined
        if (!projectId)
          throw new Vm0Error(
            'UNAUTHENTICATED',
            key ? 'the API key is not valid' : 'the request carries no API key; expected "Authorization: Bearer vm0_…"',
          )
        request.projectId = projectId
      })
      runRoutes(scope as unknown as App, parts)
      sandboxRoutes(scope as unknown as App, parts)
      otherRoutes(scope as unknown as App, parts)
    },
    { prefix: '/v1' },
  )
  await app.ready()
  return {
    app: app as unknown as FastifyInstance,
    keys,
    dispatch: dispatcher.wake,
    async close() {
      await dispatcher.close()
      await app.close()
    },
  }
}

/**
 * Reads what a client still sends, within bounds: a connection that is closed while the client writes is reset, and the
 * client sees a broken pipe instead of the answer.
 */
async function swallowRest(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return
  let bytes = 0
  const enough = new AbortController()
  const signal = AbortSignal.any([enough.signal, AbortSignal.timeout(maxSwallowMs)])
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > maxSwallowBytes) enough.abort()
  })
  request.resume()
  await finished(request, { writable: false, signal }).catch(() => undefined)
}

interface Issue {
  instancePath?: string
  message?: string
}

function asVm0Error(thrown: FastifyError & { validation?: Issue[] }): Vm0Error {
  if (thrown instanceof Vm0Error) return thrown
  if (thrown.validation) {
    const told = thrown.validation
      .map(
        (issue) =>
          `${(issue.instancePath ?? '').replace(/^\//, '').replaceAll('/', '.') || 'request'}: ${issue.message ?? 'is not valid'}`,
      )
      .join('; ')
    return new Vm0Error(/prompt is empty/.test(told) ? 'PROMPT_EMPTY' : 'INVALID_REQUEST', told.slice(0, 2000))
  }
  if (thrown.code === 'FST_ERR_CTP_BODY_TOO_LARGE' || thrown.statusCode === 413)
    return new Vm0Error('REQUEST_TOO_LARGE', `the request is larger than ${maxBodyBytes} bytes`)
  if (thrown.statusCode && thrown.statusCode < 500) return new Vm0Error('INVALID_REQUEST', thrown.message)
  return toVm0Error(thrown)
}
