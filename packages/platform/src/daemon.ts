import { mkdir, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { hostname } from 'node:os'
import { join } from 'node:path'
import {
  claimInstallation,
  holdDatabase,
  openDatabase,
  openEventLog,
  openRunLines,
  openSecrets,
  writeDurable,
} from '@vm0/backends'
import { openCheckpointStore } from '@vm0/checkpoints'
import { toVm0Error } from '@vm0/contract'
import { defaultReleases, drivers, findDriver, openReleaseStore } from '@vm0/frameworks'
import { startGateway } from '@vm0/gateway'
import { defaultPoolLimits, readStories, Runner } from '@vm0/runner'
import { ensureTemplate, openOciEngine } from '@vm0/sandbox'
import { createServer, type Server } from '@vm0/server'
import { examplesScript, quickstartScript, startScriptedModel } from '@vm0/testkit'
import { checkpointDiffs } from './checkpoint-diffs.js'
import { lockDataDir, lockInstallation } from './data-lock.js'
import { installationId } from './installation-id.js'
import { limitsFrom, maxSandboxesFrom, retentionFrom, secondsFrom, webhookTargetsFrom } from './limits.js'
import { portTaken, requireFreePort } from './free-port.js'
import { openLogger } from './open-logger.js'
import { openObjectStore } from './object-store.js'
import { ownKey } from './own-key.js'
import { cacheDir, configFile } from './paths.js'
import { openObservation } from './observe/index.js'
import { hostImages, templatePort, TemplateRows } from './templates/index.js'
import { collectInBackground, Upkeep } from './upkeep/index.js'

const { version } = createRequire(import.meta.url)('../package.json') as { version: string }

/** Its address is the installation's own, so that the port can't be taken. */
const gatewayPort = 7301

export interface DaemonOptions {
  port: number
  host: string
  dataDir: string
  freezeMs: number
  idleMs: number
  /** Percent of the host's memory: with less of it available that of frozen sandboxes is given back. */
  reclaimBelow: number
  /** The most sandboxes that are kept warm; 0 keeps none. */
  warm: number
  /** Of them, those that are kept though nobody asks. */
  warmMin: number
}

export interface RunningDaemon {
  url: string
  apiKey: string
  /** Resolves when the first sandbox waits warm, with false when none does. */
  warmed: Promise<boolean>
  stop(): Promise<void>
}

/**
 * All parts of the platform in one process, on embedded defaults; returns the way to stop them. The signal ends the start
 * between two of its steps; it then fails with the signal's reason and leaves nothing.
 */
export async function startDaemon(
  { port, host, dataDir, freezeMs, idleMs, reclaimBelow, warm, warmMin }: DaemonOptions,
  signal: AbortSignal = new AbortController().signal,
): Promise<RunningDaemon> {
  const say = (text: string): void => {
    process.stderr.write(`${text}\n`)
  }
  const undo: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).toReversed())
      await step().catch((error: unknown) => say(`stopping: ${toVm0Error(error).message}`))
  }
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    const limits = limitsFrom(process.env)
    const targets = webhookTargetsFrom(process.env)
    const lock = await lockDataDir(dataDir, () =>
      say('an earlier `vm0 up` is still saving its sessions: waiting for it'),
    )
    undo.push(lock.release)
    const installation = await installationId(dataDir)
    undo.push(await lockInstallation(installation, dataDir))
    const runLines = openRunLines(join(dataDir, 'events'))
    const logger = openLogger(dataDir, runLines, process.env.VM0_LOG_LEVEL || undefined)

    const template = await ensureTemplate({ cacheDir, onProgress: say, signal })
    const releases = openReleaseStore(join(cacheDir, 'agents'))
    for (const [framework, version] of Object.entries(defaultReleases)) {
      if ((await releases.list(framework)).length === 0) await releases.install(framework, version, say)
    }
    signal.throwIfAborted()

    const database = await openDatabase(
      process.env.DATABASE_URL ? { url: process.env.DATABASE_URL } : { directory: join(dataDir, 'db'), cacheDir },
    )
    undo.push(() => database.close())
    await claimInstallation(database, { id: installation, place: `${hostname()}:${dataDir}` })
    if (process.env.DATABASE_URL) undo.push(await holdDatabase(process.env.DATABASE_URL))
    const secrets = await openSecrets(join(dataDir, 'keys', 'master.json'))
    const observation = await openObservation({
      eventLog: openEventLog(join(dataDir, 'events')),
      database,
      secrets,
      logger,
      env: process.env,
      version,
    })
    undo.push(() => observation.close())
    const { eventLog } = observation
    const objects = await openObjectStore(dataDir, secrets)
    const { blobs, packed } = objects
    undo.push(() => objects.close())
    const scratch = join(dataDir, 'scratch')
    const { templateImage, addTemplate } = hostImages(cacheDir)
    const templates = new TemplateRows(database, template.digest)
    const checkpoints = await openCheckpointStore({
      blobs,
      scratch,
      ...(packed ? { packed } : {}),
      templateImage,
      templateLayer: (projectId, digest) => templates.layer(projectId, digest),
      addTemplate,
      onError: (error) => logger.error({ error }, 'a chain of layers could not be squashed'),
    })

    const upkeep = new Upkeep({
      database,
      secrets,
      checkpoints,
      sandboxes: join(dataDir, 'sandboxes'),
      retention: retentionFrom(process.env),
    })
    const collectEveryMs = secondsFrom('VM0_GC_SECONDS', 3600, 0) * 1000

    const { ANTHROPIC_API_KEY: apiKey, ANTHROPIC_BASE_URL: baseUrl } = process.env
    const scripted = apiKey ? undefined : await startScriptedModel([quickstartScript(), examplesScript()])
    if (scripted) undo.push(() => scripted.close())
    await requireFreePort(port, host)
    signal.throwIfAborted()
    // From here to `recover` a start is not broken off: what was left at work would be ended without being saved.
    const stories = await readStories(join(dataDir, 'sandboxes'))
    const adopt = (id: string): boolean => stories.get(id) !== undefined
    const engine = await openOciEngine({ installation, dataDir, gatewayPort, adopt })
    undo.push(() => engine.close())
    const gateway = await startGateway({
      host: engine.gatewayAddress,
      port: gatewayPort,
      onExchange: observation.exchanged,
      upstream: scripted
        ? { baseUrl: scripted.url, apiKey: 'scripted' }
        : { baseUrl: baseUrl || 'https://api.anthropic.com', apiKey: apiKey as string },
    })
    undo.push(() => gateway.close())
    // Agents that go on ask at once; it takes a moment until it is known whose they are.
    const early = engine.adopted.map(({ address }) => gateway.register(address, comeBack))

    let server: Server | undefined
    const runner = new Runner({
      runnerId: installation,
      database,
      secrets,
      eventLog,
      blobs,
      checkpoints,
      engine,
      gateway,
      releases,
      findDriver,
      logger,
      freezeMs,
      idleMs,
      reclaimBelow: reclaimBelow / 100,
      modelPatienceMs: secondsFrom('VM0_MODEL_PATIENCE_SECONDS', 600) * 1000,
      silenceMs: secondsFrom('VM0_SILENCE_SECONDS', 300) * 1000,
      maxSandboxes: maxSandboxesFrom(process.env),
      templates: {
        image: (digest, projectId) => checkpoints.templates.image(digest, projectId),
        about: (digest, projectId) => templates.about(digest, projectId),
      },
      pool: {
        framework: 'claude-code',
        template: template.digest,
        limits: { ...defaultPoolLimits, min: Math.min(warmMin, warm), max: warm },
      },
      onRoom: () => server?.dispatch(),
    })
    undo.push(() => runner.stop())
    const { kept, lost } = await runner.recover(stories)
    for (const end of early) end()
    for (const ref of lost) eventLog.wake(ref)
    signal.throwIfAborted()
    const runs = (count: number, were: string) => `${count} run${count === 1 ? ' was' : 's were'} ${were}`
    if (kept > 0) say(`${runs(kept, 'at work when VM0 last ended')}: carried on`)
    if (lost.length > 0) say(`${runs(lost.length, 'at work when VM0 last ended')}: reported as died (host_lost)`)
    server = await createServer({
      limits,
      database,
      secrets,
      eventLog,
      blobs,
      runner,
      diffs: checkpointDiffs(checkpoints),
      upkeep,
      archives: checkpoints.archives,
      scratch,
      webhooks: { targets, onOutcome: observation.webhookTried },
      templates: templatePort(
        checkpoints,
        template.digest,
        drivers.flatMap(({ statePaths }) => statePaths),
      ),
      frameworkNames: drivers.map(({ name }) => name),
      frameworks: () =>
        Promise.all(
          drivers.map(async ({ name }) => {
            const versions = (await releases.list(name)).map(({ version }) => version)
            return { name, versions, default: versions.at(-1) ?? null }
          }),
        ),
      installFramework: async (name, version, onProgress) => {
        await releases.install(name, version, onProgress)
      },
      runLines,
      onRun: (run, text, error) => logger[error ? 'warn' : 'info']({ ...run, error, source: 'server' }, text),
      onError: (error) => logger.error({ error }, 'server error'),
    })
    const { app, dispatch, drain, close } = server
    // Done from the last to the first: what is at work ends while the server still tells of it.
    undo.push(close, () => runner.stop(), drain, lock.announceStop)
    const url = await app.listen({ host, port }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') throw portTaken(port, host)
      throw error
    })
    const localKey = await ownKey(server, dataDir)
    await writeDurable(configFile, `${JSON.stringify({ url, apiKey: localKey }, null, 2)}\n`)
    undo.push(() => removeConfig(url))
    undo.push(collectInBackground({ upkeep, everyMs: collectEveryMs, logger }))
    for (const line of await observation.start({ status: () => runner.status(), egress: () => engine.egress() }))
      say(line)
    dispatch()
    const warmed = runner.warm()
    say(
      scripted
        ? "No ANTHROPIC_API_KEY is set: the model's answers are SCRIPTED (a stand-in that knows the quickstart and the examples only)."
        : `Model requests go to ${baseUrl || 'https://api.anthropic.com'}.`,
    )
    return { url, apiKey: localKey, warmed, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

const comeBack = {
  answer: () => ({
    status: 503,
    contentType: 'application/json',
    body: '{"type":"error","error":{"type":"api_error","message":"VM0 is being started: try again"}}',
  }),
}

/** Only when it is still ours: another `vm0 up` may have written it since. */
async function removeConfig(url: string): Promise<void> {
  const text = await readFile(configFile, 'utf8').catch(() => '{}')
  if ((JSON.parse(text) as { url?: string }).url === url) await rm(configFile, { force: true })
}
