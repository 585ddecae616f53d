import { randomBytes } from 'node:crypto'
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { openDatabase, openEventLog, openSecrets } from '@vm0/backends'
import { openCheckpointStore } from '@vm0/checkpoints'
import { toVm0Error, Vm0Error } from '@vm0/contract'
import { defaultReleases, drivers, findDriver, openReleaseStore } from '@vm0/frameworks'
import { startGateway } from '@vm0/gateway'
import { Runner } from '@vm0/runner'
import { ensureTemplate, openOciEngine } from '@vm0/sandbox'
import { createServer, type Server } from '@vm0/server'
import { quickstartScript, startScriptedModel } from '@vm0/testkit'
import { pino } from 'pino'
import { lockDataDir } from './data-lock.js'
import { openObjectStore } from './object-store.js'
import { cacheDir, configFile } from './paths.js'

/** Its address is the installation's own, so that the port can't be taken. */
const gatewayPort = 7301

export interface DaemonOptions {
  port: number
  host: string
  dataDir: string
  idleMs: number
}

/** All parts of the platform in one process, on embedded defaults; returns the way to stop them. */
export async function startDaemon({
  port,
  host,
  dataDir,
  idleMs,
}: DaemonOptions): Promise<{ url: string; apiKey: string; stop(): Promise<void> }> {
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
    undo.push(await lockDataDir(dataDir))
    const installation = await once(join(dataDir, 'installation'), () => randomBytes(3).toString('hex'))
    const logger = pino(
      { level: process.env.VM0_LOG_LEVEL ?? 'warn' },
      pino.destination({ dest: join(dataDir, 'vm0.log'), mkdir: true, sync: true }),
    )

    const template = await ensureTemplate({ cacheDir, onProgress: say })
    const releases = openReleaseStore(join(cacheDir, 'agents'))
    for (const [framework, version] of Object.entries(defaultReleases)) {
      if ((await releases.list(framework)).length === 0) await releases.install(framework, version, say)
    }

    const database = await openDatabase(
      process.env.DATABASE_URL ? { url: process.env.DATABASE_URL } : { directory: join(dataDir, 'db') },
    )
    undo.push(() => database.close())
    const secrets = await openSecrets(join(dataDir, 'keys', 'master.json'))
    const eventLog = openEventLog(join(dataDir, 'events'))
    const { blobs, packed, close } = await openObjectStore(dataDir, secrets)
    undo.push(close)
    const scratch = join(dataDir, 'scratch')
    const templateImage = async (digest: string): Promise<string> => {
      const image = join(cacheDir, 'templates', `${digest.slice('sha256:'.length)}.erofs`)
      await access(image).catch(() => {
        throw new Vm0Error('UNKNOWN_TEMPLATE', `the template ${digest} is not on this machine; expected it at ${image}`)
      })
      return image
    }
    const checkpoints = await openCheckpointStore({
      blobs,
      scratch,
      ...(packed ? { packed } : {}),
      templateImage,
      onError: (error) => logger.error({ error }, 'a chain of layers could not be squashed'),
    })

    const { ANTHROPIC_API_KEY: apiKey, ANTHROPIC_BASE_URL: baseUrl } = process.env
    const scripted = apiKey ? undefined : await startScriptedModel([quickstartScript()])
    if (scripted) undo.push(() => scripted.close())
    const engine = await openOciEngine({ installation, dataDir, gatewayPort })
    undo.push(() => engine.close())
    const gateway = await startGateway({
      host: engine.gatewayAddress,
      port: gatewayPort,
      upstream: scripted
        ? { baseUrl: scripted.url, apiKey: 'scripted' }
        : { baseUrl: baseUrl || 'https://api.anthropic.com', apiKey: apiKey as string },
    })
    undo.push(() => gateway.close())

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
      idleMs,
      maxSandboxes: Math.max(2, Math.min(availableParallelism() * 8, Math.floor(totalmem() / 1024 ** 3 / 1.5))),
      templateImage,
      onRoom: () => server?.dispatch(),
    })
    const lost = await runner.recover()
    if (lost > 0)
      say(`${lost} run${lost === 1 ? ' was' : 's were'} at work when VM0 last ended: reported as died (host_lost)`)
    server = await createServer({
      database,
      secrets,
      eventLog,
      blobs,
      runner,
      scratch,
      resolveTemplate: (name) => {
        if (name === 'standard' || name === template.digest) return template.digest
        throw new Vm0Error('UNKNOWN_TEMPLATE', `template ${JSON.stringify(name)} is unknown; expected "standard"`)
      },
      frameworks: () =>
        Promise.all(
          drivers.map(async ({ name }) => {
            const versions = (await releases.list(name)).map(({ version }) => version)
            return { name, versions, default: versions.at(-1) ?? null }
          }),
        ),
      onError: (error) => logger.error({ error }, 'server error'),
    })
    const { app, keys, dispatch } = server
    undo.push(async () => {
      await server?.close()
      await runner.stop()
    })
    const url = await app.listen({ host, port }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE')
        throw new Vm0Error('PORT_TAKEN', `port ${port} on ${host} is taken by another program`)
      throw error
    })
    const localKey = await once(
      join(dataDir, 'keys', 'local'),
      async () => (await keys.create('default', 'local')).key as string,
    )
    await writeConfig({ url, apiKey: localKey })
    undo.push(() => removeConfig(url))
    dispatch()
    say(
      scripted
        ? "No ANTHROPIC_API_KEY is set: the model's answers are SCRIPTED (a stand-in that knows the quickstart only)."
        : `Model requests go to ${baseUrl || 'https://api.anthropic.com'}.`,
    )
    return { url, apiKey: localKey, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The content of a small private file, which `make` gives the first time. */
async function once(path: string, make: () => string | Promise<string>): Promise<string> {
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found) return found.trim()
  const made = await make()
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await writeFile(path, `${made}\n`, { mode: 0o600 })
  return made
}

async function writeConfig(config: { url: string; apiKey: string }): Promise<void> {
  await mkdir(dirname(configFile), { recursive: true, mode: 0o700 })
  await writeFile(configFile, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 })
}

/** Only when it is still ours: another `vm0 up` may have written it since. */
async function removeConfig(url: string): Promise<void> {
  const text = await readFile(configFile, 'utf8').catch(() => '{}')
  if ((JSON.parse(text) as { url?: string }).url === url) await rm(configFile, { force: true })
}
