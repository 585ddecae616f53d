import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { startScriptedModel, type Script, type ScriptedModel } from '@vm0/testkit'
import { createClient, type Vm0 } from '../../packages/vm0/src/index.js'

const command = join(import.meta.dirname, '../../packages/vm0/dist/cli/main.js')

export interface Ended {
  status: number
  stdout: string
  stderr: string
}

export interface HowToStart {
  /** How the command is called: a program and its first arguments. */
  vm0?: readonly string[]
  /** Further arguments of `vm0 up`. */
  args?: readonly string[]
  /** Each `up` listens where the first one did, as on a host that starts again: clients go on. */
  samePort?: boolean
}

/** A `vm0 up` of the test's own, with its own data folder and scripted model. */
export class TestPlatform {
  private child: ChildProcess | undefined
  /** Its process was ended without warning, and none has come after it. */
  private killed = false
  private port = '0'
  client!: Vm0
  url = ''
  apiKey = ''
  /** What `vm0 up` has said on stderr. */
  words = ''

  private constructor(
    readonly directory: string,
    readonly model: ScriptedModel,
    readonly env: Record<string, string>,
    private readonly how: HowToStart,
  ) {}

  static async start(scripts: Script[], env: Record<string, string> = {}, how: HowToStart = {}): Promise<TestPlatform> {
    const platform = new TestPlatform(
      await mkdtemp(join(tmpdir(), 'vm0-test-')),
      await startScriptedModel(scripts),
      env,
      how,
    )
    try {
      await platform.up()
    } catch (error) {
      await platform.stop()
      throw error
    }
    return platform
  }

  private get vm0(): readonly string[] {
    return this.how.vm0 ?? [process.execPath, command]
  }

  async up(): Promise<void> {
    const child = this.spawn()
    this.words = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.words += text
    })
    const ready = (async () => {
      for await (const line of createInterface({ input: child.stdout! })) if (line.includes('ready at')) return
      throw new Error(`vm0 up ended: ${this.words}`)
    })()
    await ready
    this.killed = false
    child.stdout!.resume()
    const config = JSON.parse(await readFile(join(this.directory, 'config.json'), 'utf8')) as {
      url: string
      apiKey: string
    }
    this.url = config.url
    if (this.how.samePort) this.port = new URL(config.url).port
    this.apiKey = config.apiKey
    this.client = createClient({ url: config.url, apiKey: config.apiKey })
  }

  /** Starts it and kills its process some time later, ready or not. */
  async upAndKill(afterMs: number): Promise<void> {
    const child = this.spawn()
    for (const stream of [child.stdout!, child.stderr!]) stream.resume()
    await wait(afterMs)
    await this.kill()
  }

  private spawn(): ChildProcess {
    const { args = [] } = this.how
    const [program = '', ...first] = this.vm0
    const words = [program, ...first, 'up', '--port', this.port, '--data', this.dataDir, ...args]
    // A run of the tests that is broken off takes its platforms with it: they end in order.
    this.child = spawn('setpriv', ['--pdeathsig', 'TERM', ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        VM0_CONFIG: join(this.directory, 'config.json'),
        ANTHROPIC_BASE_URL: this.model.url,
        ANTHROPIC_API_KEY: 'the-provider-key',
        NODE_OPTIONS: '',
        ...this.env,
      },
    })
    return this.child
  }

  get dataDir(): string {
    return join(this.directory, 'data')
  }

  /** Runs the `vm0` command against this platform. */
  cli(...args: string[]): Promise<Ended> {
    return this.cliWith({}, ...args)
  }

  cliWith(env: Record<string, string>, ...args: string[]): Promise<Ended> {
    const [program = '', ...first] = this.vm0
    return this.run(env, program, [...first, ...args])
  }

  /** Runs a program that finds this platform as a user's program does. */
  execute(program: string, ...args: string[]): Promise<Ended> {
    return this.run({}, program, args)
  }

  private async run(env: Record<string, string>, program: string, args: readonly string[]): Promise<Ended> {
    const child = spawn(program, args, {
      env: { ...process.env, VM0_CONFIG: join(this.directory, 'config.json'), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const out = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      out.stderr += text
    })
    const [status] = (await once(child, 'close')) as [number]
    return { status, ...out }
  }

  fetch(path: string, init: RequestInit & { key?: string } = {}): Promise<Response> {
    const { key = this.apiKey, headers, ...rest } = init
    return fetch(`${this.url}${path}`, {
      ...rest,
      headers: {
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...(rest.body ? { 'content-type': 'application/json' } : {}),
        ...(headers as Record<string, string>),
      },
    })
  }

  /** The platform's own process is killed without warning; `up` starts the next one. */
  async kill(): Promise<void> {
    const child = this.child as ChildProcess
    const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null
    if (hasEnded()) return
    this.killed = true
    const closed = once(child, 'close')
    let daemon = 0
    while (!daemon && !hasEnded()) {
      const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').catch(() => '')
      daemon = Number(children.trim().split(' ')[0])
    }
    if (daemon) process.kill(daemon, 'SIGKILL')
    await closed
  }

  /** Sends the command `vm0 up` a signal; resolves when it has ended, and with `close` all that it started. */
  async signal(name: 'SIGTERM' | 'SIGKILL', until: 'close' | 'exit' = 'close'): Promise<void> {
    const child = this.child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, until)
    this.killed ||= name === 'SIGKILL'
    child.kill(name)
    await ended
  }

  /** Asks the platform to end, as an operator would; gives its exit status. */
  async down(): Promise<number | null> {
    await this.signal('SIGTERM')
    return this.child?.exitCode ?? null
  }

  async stop(): Promise<void> {
    // A test that failed after a kill leaves sandboxes on the host: the next process takes them over and gives them back.
    if (this.killed) await this.up().catch(() => undefined)
    await this.signal('SIGTERM')
    await this.model.close()
    await rm(this.directory, { recursive: true, force: true })
  }

  /** A key of a project of its own, made with the installation's. */
  async project(id: string): Promise<{ key: string; client: Vm0 }> {
    await this.client.projects.create({ id })
    const { key = '' } = await this.client.keys.create('test', { projectId: id, scopes: ['write', 'admin'] })
    return { key, client: createClient({ url: this.url, apiKey: key }) }
  }
}
