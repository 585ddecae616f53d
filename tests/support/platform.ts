import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
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
}

/** A `vm0 up` of the test's own, with its own data folder and scripted model. */
export class TestPlatform {
  private child: ChildProcess | undefined
  client!: Vm0
  url = ''
  apiKey = ''

  private constructor(
    readonly directory: string,
    readonly model: ScriptedModel,
    private readonly env: Record<string, string>,
    private readonly how: HowToStart,
  ) {}

  static async start(scripts: Script[], env: Record<string, string> = {}, how: HowToStart = {}): Promise<TestPlatform> {
    const platform = new TestPlatform(
      await mkdtemp(join(tmpdir(), 'vm0-test-')),
      await startScriptedModel(scripts),
      env,
      how,
    )
    await platform.up()
    return platform
  }

  private get vm0(): readonly string[] {
    return this.how.vm0 ?? [process.execPath, command]
  }

  async up(): Promise<void> {
    const { args = [] } = this.how
    const [program = '', ...first] = this.vm0
    const child = spawn(program, [...first, 'up', '--port', '0', '--data', join(this.directory, 'data'), ...args], {
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
    this.child = child
    let words = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words += text
    })
    const ready = (async () => {
      for await (const line of createInterface({ input: child.stdout })) if (line.includes('ready at')) return
      throw new Error(`vm0 up ended: ${words}`)
    })()
    await ready
    child.stdout.resume()
    const config = JSON.parse(await readFile(join(this.directory, 'config.json'), 'utf8')) as {
      url: string
      apiKey: string
    }
    this.url = config.url
    this.apiKey = config.apiKey
    this.client = createClient({ url: config.url, apiKey: config.apiKey })
  }

  /** Runs the `vm0` command against this platform. */
  cli(...args: string[]): Promise<Ended> {
    const [program = '', ...first] = this.vm0
    return this.execute(program, ...first, ...args)
  }

  /** Runs a program that finds this platform as a user's program does. */
  async execute(program: string, ...args: string[]): Promise<Ended> {
    const child = spawn(program, args, {
      env: { ...process.env, VM0_CONFIG: join(this.directory, 'config.json') },
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
    const closed = once(child, 'close')
    const daemon = Number(
      (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim().split(' ')[0],
    )
    process.kill(daemon, 'SIGKILL')
    await closed
  }

  /** Asks the platform to end, as an operator would; gives its exit status. */
  async down(): Promise<number | null> {
    const child = this.child as ChildProcess
    if (child.exitCode === null && child.signalCode === null) {
      const closed = once(child, 'close')
      child.kill('SIGTERM')
      await closed
    }
    return child.exitCode
  }

  async stop(): Promise<void> {
    if (this.child) await this.down()
    await this.model.close()
    await rm(this.directory, { recursive: true, force: true })
  }
}
