import { Vm0Error } from '@vm0/contract'
import Fastify, { type FastifyInstance } from 'fastify'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { accessHook, stopping } from './access.js'
import { Archives } from './archives.js'
import { Checkpoints } from './checkpoints.js'
import { RunComparisons } from './insights.js'
import { Dispatcher } from './dispatcher.js'
import { readJsonBodies } from './json-body.js'
import { Keys } from './keys.js'
import { RequestRate } from './limits.js'
import { describeApi } from './openapi.js'
import type { ServerOptions } from './options.js'
import { maxBodyBytes, tellProblem, tellProblems } from './problems.js'
import { Projects } from './projects.js'
import { archiveRoutes } from './routes/archives.js'
import { comparisonRoutes } from './routes/comparison.js'
import { checkpointRoutes } from './routes/checkpoints.js'
import { diffRoutes } from './routes/diff.js'
import { eventRoutes } from './routes/events.js'
import { folderRoutes } from './routes/folders.js'
import { frameworkRoutes } from './routes/frameworks.js'
import { insightRoutes } from './routes/insight.js'
import { logRoutes } from './routes/logs.js'
import { keyRoutes } from './routes/keys.js'
import { otherRoutes } from './routes/other.js'
import { runnerRoutes } from './routes/runners.js'
import { runRoutes } from './routes/runs.js'
import { sandboxRoutes } from './routes/sandbox.js'
import { storageRoutes } from './routes/storage.js'
import { templateRoutes } from './routes/templates.js'
import { storeRoutes } from './routes/store.js'
import { treeRoutes } from './routes/trees.js'
import { webhookRoutes } from './routes/webhooks.js'
import { Replays } from './replays.js'
import { Runs } from './runs.js'
import { Sessions } from './sessions.js'
import { Storage } from './storage.js'
import { TemplateBuilds, Templates, Upgrades } from './templates/index.js'
import { Streams } from './streams.js'
import { openWebhooks, type Webhooks } from './webhooks/index.js'

export interface Parts {
  options: ServerOptions
  keys: Keys
  projects: Projects
  sessions: Sessions
  runs: Runs
  checkpoints: Checkpoints
  archives: Archives
  storage: Storage
  streams: Streams
  comparisons: RunComparisons
  replays: Replays
  templates: Templates
  builds: TemplateBuilds
  upgrades: Upgrades
  webhooks: Webhooks
}
export type App = FastifyInstance<any, any, any, any, ZodTypeProvider>

export interface Server {
  app: FastifyInstance
  keys: Keys
  projects: Projects
  /** Runs may have ended: what waits may be able to start now, and what is to be told of them is there. Also after a start. */
  dispatch(): void
  /** Takes nothing new and starts nothing any more, but goes on answering: what is at work can come to its end in sight. */
  drain(): Promise<void>
  close(): Promise<void>
}

const databaseAnswerMs = 2_000

export async function createServer(options: ServerOptions): Promise<Server> {
  const { limits } = options
  const dispatcher = new Dispatcher(options)
  const streams = new Streams(limits.eventStreams)
  const keys = new Keys(options.database, (ids) => streams.end(ids))
  const projects = new Projects(options.database)
  const templates = new Templates(options.database, options.templates)
  const sessions = new Sessions(options, templates)
  const upgrades = new Upgrades(options, sessions, templates)
  const builds = new TemplateBuilds(options, sessions, templates)
  const storage = new Storage(options.database)
  const runs = new Runs(options, sessions, storage, dispatcher, () => sender.wake())
  const checkpoints = new Checkpoints(options, sessions)
  const archives = new Archives(options, sessions, templates)
  const comparisons = new RunComparisons(runs)
  const replays = new Replays(options.database, runs, sessions, comparisons)
  const { webhooks, sender } = openWebhooks(options, runs)
  const parts: Parts = {
    options,
    keys,
    projects,
    sessions,
    runs,
    checkpoints,
    archives,
    storage,
    streams,
    comparisons,
    replays,
    templates,
    builds,
    upgrades,
    webhooks,
  }
  let isStopping = false

  const app = Fastify({
    bodyLimit: maxBodyBytes,
    genReqId: () => crypto.randomUUID(),
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 8192 },
    frameworkErrors: tellProblem,
  }).withTypeProvider<ZodTypeProvider>() as unknown as FastifyInstance
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  readJsonBodies(app)
  tellProblems(app, options.onError)
  await describeApi(app)
  app.addHook('onSend', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  app.get('/healthz', async () => ({ ok: true }))
  app.get('/readyz', async () => {
    if (isStopping) throw stopping()
    const query = options.database.db.selectFrom('projects').select('id').limit(1).execute()
    await within(query, databaseAnswerMs).catch((cause: unknown) => {
      throw new Vm0Error('NOT_READY', 'the database does not answer', { cause, details: { retryAfterMs: 1_000 } })
    })
    return { ok: true }
  })
  app.get('/v1/openapi.json', async () => app.swagger())
  await app.register(
    async (scope) => {
      scope.decorateRequest('principal')
      scope.decorateRequest('projectId', '')
      scope.decorateRequest('stillValid')
      scope.decorateRequest('arrival')
      scope.addHook(
        'onRequest',
        accessHook(keys, new RequestRate(limits), () => isStopping),
      )
      for (const routes of [
        runRoutes,
        eventRoutes,
        logRoutes,
        insightRoutes,
        comparisonRoutes,
        checkpointRoutes,
        diffRoutes,
        sandboxRoutes,
        keyRoutes,
        frameworkRoutes,
        otherRoutes,
        storageRoutes,
        treeRoutes,
        folderRoutes,
        runnerRoutes,
        storeRoutes,
        templateRoutes,
        archiveRoutes,
        webhookRoutes,
      ])
        routes(scope as unknown as App, parts)
    },
    { prefix: '/v1' },
  )
  await builds.sweep()
  await app.ready()
  return {
    app,
    keys,
    projects,
    dispatch() {
      dispatcher.wake()
      sender.wake()
    },
    async drain() {
      isStopping = true
      await dispatcher.close()
    },
    async close() {
      isStopping = true
      await dispatcher.close()
      await app.close()
      await sender.close()
    },
  }
}

function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
