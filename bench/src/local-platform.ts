import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createClient, type Vm0 } from 'vm0'

const command = fileURLToPath(new URL('../../packages/vm0/dist/cli/main.js', import.meta.url))

export interface LocalPlatform {
  client: Vm0
  url: string
  apiKey: string
  dataDir: string
  /** Ends it, does something with its folder, and starts it again: what is above is then another's. */
  restart(meanwhile: () => Promise<void>): Promise<void>
  close(): Promise<void>
}

/** A `vm0 up` of the bench's own, with its model requests sent to `modelUrl`. */
export async function startPlatform(
  modelUrl: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<LocalPlatform> {
  const directory = await mkdtemp(join(tmpdir(), 'vm0-bench-'))
  const config = join(directory, 'config.json')
  let child: ChildProcess | undefined
  const end = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGTERM')
    await closed
  }
  const begin = async () => {
    const up = spawn(process.execPath, [command, 'up', '--port', '0', '--data', join(directory, 'data'), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env, VM0_CONFIG: config, ANTHROPIC_BASE_URL: modelUrl, ANTHROPIC_API_KEY: 'bench' },
    })
    child = up
    let ready = false
    for await (const line of createInterface({ input: up.stdout })) {
      ready = line.includes('ready at')
      if (ready) break
    }
    if (!ready) throw new Error('`vm0 up` ended before it was ready: its words are above')
    up.stdout.resume()
    const { url, apiKey } = JSON.parse(await readFile(config, 'utf8')) as { url: string; apiKey: string }
    return { client: createClient({ url, apiKey }), url, apiKey }
  }
  const close = async (): Promise<void> => {
    await end()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const platform: LocalPlatform = {
      ...(await begin()),
      dataDir: join(directory, 'data'),
      close,
      async restart(meanwhile) {
        await end()
        await meanwhile()
        Object.assign(platform, await begin())
      },
    }
    return platform
  } catch (error) {
    await close()
    throw error
  }
}
