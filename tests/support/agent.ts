import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EventBody, RunSpec } from '@vm0/contract'
import { findDriver, openReleaseStore, type AgentProtocol, type Launch, type TurnEnd } from '@vm0/frameworks'
import { startGateway, type Gateway } from '@vm0/gateway'
import { ensureTemplate, openOciEngine, type MonitoredProcess, type Sandbox, type SandboxEngine } from '@vm0/sandbox'
import { startScriptedModel, type Script, type ScriptedModel } from '@vm0/testkit'
import { ClaudeProtocol } from '../../packages/frameworks/src/claude-code/protocol.js'
import type { Entry } from '../../packages/frameworks/src/claude-code/fixtures/recording.js'

const gatewayPort = 7301
const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
const resources = { memoryMiB: 2048, cpus: 2, diskMiB: 512, processes: 512 }

/** What a real agent needs around it, without server and runner: engine, gateway, release. */
export class AgentHost {
  private constructor(
    private readonly directory: string,
    private readonly templateImage: string,
    private readonly engine: SandboxEngine,
    private readonly gateway: Gateway,
    readonly model: ScriptedModel,
  ) {}

  static async start(scripts: Script[]): Promise<AgentHost> {
    const directory = await mkdtemp(join(tmpdir(), 'vm0-agent-'))
    const model = await startScriptedModel(scripts)
    const { image } = await ensureTemplate({ cacheDir })
    const installation = `a${process.pid.toString(36)}`.slice(0, 8)
    const engine = await openOciEngine({ installation, dataDir: directory, gatewayPort })
    const upstream = { baseUrl: model.url, apiKey: 'the-provider-key' }
    const gateway = await startGateway({ host: engine.gatewayAddress, port: gatewayPort, upstream })
    return new AgentHost(directory, image, engine, gateway, model)
  }

  async sandbox(): Promise<AgentSandbox> {
    const release = await openReleaseStore(join(cacheDir, 'agents')).newest('claude-code')
    const sandbox = await this.engine.create({
      id: randomBytes(6).toString('hex'),
      templateImage: this.templateImage,
      layers: [],
      resources,
      platformMounts: [{ source: release.directory, target: '/opt/vm0/agents/claude-code/release' }],
    })
    const nothing = (): void => undefined
    const unregister = this.gateway.register(sandbox.address, {
      onRequest: nothing,
      onFirstByte: nothing,
      onProgress: nothing,
      onEnd: nothing,
    })
    return new AgentSandbox(sandbox, unregister)
  }

  async close(): Promise<void> {
    await this.gateway.close()
    await this.engine.close()
    await this.model.close()
    await rm(this.directory, { recursive: true, force: true })
  }
}

export class AgentSandbox {
  constructor(
    private readonly sandbox: Sandbox,
    private readonly unregister: () => void,
  ) {}

  async write(path: string, content: string): Promise<void> {
    const args = ['sh', '-c', 'mkdir -p "$(dirname "$1")" && cat >"$1"', 'sh', path]
    for await (const chunk of this.sandbox.exec({ args, stdin: Buffer.from(content), cwd: '/' }))
      if ('exitCode' in chunk && chunk.exitCode !== 0) throw new Error(`${path} could not be written`)
  }

  async launch(
    spec: Partial<RunSpec> & { maxTurns?: number } = {},
    resume: string | null = null,
  ): Promise<RecordedAgent> {
    const driver = findDriver('claude-code')
    const launch = driver.launch({
      releaseDir: '/opt/vm0/agents/claude-code/release',
      gatewayUrl: this.sandbox.gatewayUrl,
      resume,
      spec,
    })
    return new RecordedAgent(await this.spawn(launch), resume !== null)
  }

  /** What a program that is no agent prints, by lines. */
  async linesOf(script: string): Promise<string[]> {
    const lines: string[] = []
    const process = await this.spawn({ args: ['sh', '-c', script], env: {}, cwd: '/' })
    for await (const { stream, text } of process.output()) if (stream === 'stdout') lines.push(text)
    return lines
  }

  private spawn(launch: Launch): Promise<MonitoredProcess> {
    const id = `agent-${randomBytes(4).toString('hex')}`
    return this.sandbox.spawn({ id, ...launch, maxOutputBytes: 256 * 1024 ** 2 })
  }

  async close(): Promise<void> {
    this.unregister()
    await this.sandbox.close()
  }
}

/** A process that the driver's protocol speaks with, and the record of what passed. */
export class RecordedAgent {
  readonly recording: Entry[]
  readonly events: EventBody[] = []
  sessionId: string | undefined
  private readonly protocol: AgentProtocol
  private readonly ids: string[] = []
  private firstMs: number | undefined

  constructor(
    private readonly process: MonitoredProcess,
    resumed: boolean,
  ) {
    this.recording = [{ resumed }]
    this.protocol = new ClaudeProtocol({ resumed, newId: () => this.ids.at(-1) as string })
  }

  /** Sends a prompt and reads to the end of its turns. `onEvent` may say more meanwhile. */
  async run(prompt: string, onEvent: (event: EventBody) => void = () => undefined): Promise<TurnEnd> {
    this.ids.push(randomUUID())
    this.recording.push({ prompt, id: this.ids.at(-1) as string })
    await this.write(this.protocol.prompt(prompt))
    for await (const { stream, text, timeMs } of this.lines()) {
      if (stream !== 'stdout') continue
      this.firstMs ??= timeMs
      const ms = Math.round(timeMs - this.firstMs)
      this.recording.push({ ms, line: JSON.parse(text) })
      const { events, replies, agentSessionId, turnEnd } = this.protocol.translate(text, ms)
      this.sessionId = agentSessionId ?? this.sessionId
      this.events.push(...events)
      for (const event of events) onEvent(event)
      await this.write(replies)
      if (turnEnd) return turnEnd
    }
    throw new Error('the agent ended before its turn did')
  }

  async input(text: string): Promise<void> {
    this.ids.push(randomUUID())
    this.recording.push({ input: text, id: this.ids.at(-1) as string })
    await this.write(this.protocol.input(text))
  }

  async interrupt(): Promise<void> {
    this.recording.push({ interrupt: true })
    await this.write(this.protocol.interrupt())
  }

  async stop(): Promise<void> {
    await this.process.kill()
    await this.process.exited
  }

  private iterator: AsyncIterator<{ stream: 'stdout' | 'stderr'; text: string; timeMs: number }> | undefined

  /** One reader for all turns: leaving a loop must not end it. */
  private async *lines() {
    this.iterator ??= this.process.output()[Symbol.asyncIterator]()
    for (;;) {
      const { value, done } = await this.iterator.next()
      if (done) return
      yield value
    }
  }

  private async write(lines: string[]): Promise<void> {
    for (const line of lines) await this.process.write(line)
  }
}
