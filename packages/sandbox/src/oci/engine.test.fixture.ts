import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Resources } from '@vm0/contract'
import type { Sandbox, SandboxEngine, SandboxSpec } from '../engine.js'
import { ensureTemplate, openOciEngine } from '../index.js'

export const gatewayPort = 7301

/** Stands where a gateway would, and names the caller. */
export async function listenAt(address: string): Promise<Server> {
  const server = createServer((request, response) => response.end(`gateway sees ${request.socket.remoteAddress}`))
  await new Promise<void>((resolve) => server.listen(gatewayPort, address, resolve))
  return server
}

/** An engine with a data folder and an installation of the test file's own; what listens for the gateway names the caller. */
export class TestEngine {
  private serial = 0

  private constructor(
    readonly installation: string,
    readonly directory: string,
    readonly templateImage: string,
    readonly engine: SandboxEngine,
    private readonly gateway: Server,
  ) {}

  static async open(): Promise<TestEngine> {
    const installation = `t${process.pid.toString(36)}`.slice(0, 8)
    const directory = await mkdtemp(join(tmpdir(), 'vm0-engine-'))
    const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
    const { image } = await ensureTemplate({ cacheDir })
    const engine = await openOciEngine({ installation, dataDir: directory, gatewayPort })
    const gateway = await listenAt(engine.gatewayAddress)
    return new TestEngine(installation, directory, image, engine, gateway)
  }

  async withSandbox<T>(
    use: (sandbox: Sandbox) => Promise<T>,
    { layers = [], resources = {} }: { layers?: SandboxSpec['layers']; resources?: Resources } = {},
  ): Promise<T> {
    this.serial += 1
    const sandbox = await this.engine.create({
      id: `${this.installation}x${this.serial}`,
      templateImage: this.templateImage,
      layers,
      resources: { memoryMiB: 512, cpus: 1, diskMiB: 128, processes: 64, ...resources },
      platformMounts: [],
    })
    try {
      return await use(sandbox)
    } finally {
      await sandbox.close()
    }
  }

  async close(): Promise<void> {
    this.gateway.close()
    await this.engine.close()
    await rm(this.directory, { recursive: true, force: true })
  }
}

export async function sh(
  sandbox: Sandbox,
  script: string,
  args = ['bash', '-c'],
): Promise<{ status: number; out: string }> {
  let out = ''
  for await (const chunk of sandbox.exec({ args: [...args, script], cwd: '/' })) {
    if ('exitCode' in chunk) return { status: chunk.exitCode, out }
    out += Buffer.from(chunk.data).toString()
  }
  throw new Error('no exit code')
}

export function python(sandbox: Sandbox, script: string): Promise<{ status: number; out: string }> {
  return sh(sandbox, script, ['python3', '-c'])
}
