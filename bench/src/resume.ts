import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Vm0 } from 'vm0'
import { BareClaude, claudeBinary } from './bare-claude.js'
import { startPlatform, type LocalPlatform } from './local-platform.js'
import { startModelFront } from './model-front.js'
import { cpuOfProcess } from './platform-cpu.js'
import { cpuUsedInSandboxes } from './sandbox-use.js'
import { median, row, tableHead } from './statistics.js'
import { timed } from './workbench.js'
import { stagesOf, type TimedRun } from './waterfall.js'

/**
 * How long until an agent is at work again in a session whose sandbox is gone: from the call to its first model request, beside
 * the bare CLI's `--resume` in a folder of the same files that is ready. Arguments: files (100,000), samples (7).
 */
const files = Number(process.argv[2] ?? 100_000)
const samples = Number(process.argv[3] ?? 7)

const s3Program = `
  const [directory] = process.argv.slice(1)
  new (require('s3rver'))({ port: 0, address: '127.0.0.1', silent: true, directory, configureBuckets: [{ name: 'vm0', configs: [] }] })
    .run().then(({ port }) => console.log(port))`

const front = await startModelFront()
const binary = await claudeBinary()
const folder = await mkdtemp(join(tmpdir(), 'vm0-bench-tree-'))
const objects = await mkdtemp(join(tmpdir(), 'vm0-bench-s3-'))
const s3 = spawn(process.execPath, ['-e', s3Program, objects], { stdio: ['ignore', 'pipe', 'inherit'] })
const platforms: LocalPlatform[] = []
let serial = 0
const nextTag = (): string => `bench-r${(serial += 1).toString(36)}x`

try {
  const [port] = (await once(createInterface({ input: s3.stdout }), 'line')) as [string]
  await timed(process.execPath, [
    fileURLToPath(new URL('./file-tree.js', import.meta.url)),
    'make',
    folder,
    String(files),
  ])
  const conversation = await BareClaude.converse(binary, front.url, folder, nextTag())

  const open = async (env: Record<string, string>): Promise<LocalPlatform> => {
    const platform = await startPlatform(front.url, ['--warm', '1', '--idle', '3600'], env)
    platforms.push(platform)
    return platform
  }
  const local = await open({})
  const session = await filled(local)
  const bare: Resumed[] = []
  const cached: (TimedRun & Resumed)[] = []
  for (let index = 0; index < samples; index++) {
    bare.push(await bareResume(conversation))
    cached.push(await resumed(local, session))
  }
  await local.close()

  const s3Env = {
    VM0_S3_BUCKET: 'vm0',
    VM0_S3_ENDPOINT: `http://127.0.0.1:${port}`,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'S3RVER',
    AWS_SECRET_ACCESS_KEY: 'S3RVER',
  }
  const remote = await open(s3Env)
  const there = await filled(remote)
  const fetched: (TimedRun & Resumed)[] = []
  for (let index = 0; index < Math.ceil(samples / 2); index++) {
    await remote.restart(() => rm(join(remote.dataDir, 'cache'), { recursive: true, force: true }))
    fetched.push(await resumed(remote, there))
  }

  const msOf = (runs: readonly Resumed[]): number[] => runs.map(({ ms }) => ms)
  const cpuOf = (runs: readonly Resumed[]): string => median(runs.map(({ cpuMs }) => cpuMs)).toFixed(0)
  console.log(`
To the agent's first model request in a session of ${files} files whose sandbox is gone. ${availableParallelism()} cores

${tableHead}
${row('bare CLI, --resume in a ready folder of the same files', msOf(bare))}
${row('resumed in a new sandbox, layers in the local cache', msOf(cached))}
${row('resumed in a new sandbox, nothing cached, from an S3 server', msOf(fetched))}

From the local cache ${(median(msOf(cached)) / median(msOf(bare))).toFixed(2)} times the bare --resume, from S3 ${(median(msOf(fetched)) / median(msOf(bare))).toFixed(2)} times.
CPU of the agent until then, p50: bare ${cpuOf(bare)} ms, from the local cache ${cpuOf(cached)}, from S3 ${cpuOf(fetched)} (with its sandbox's first process; what a loaded machine changes least).

Local cache:

${stagesOf(cached)}

From S3:

${stagesOf(fetched)}`)
} finally {
  for (const platform of platforms) await platform.close()
  await front.close()
  s3.kill('SIGKILL')
  await Promise.all([folder, objects].map((each) => rm(each, { recursive: true, force: true })))
}

/** A session with all the files and a conversation, its sandbox gone. */
async function filled({ client }: LocalPlatform): Promise<string> {
  const run = client.run({ prompt: nextTag(), workspace: folder })
  await run
  await run.session.close()
  return run.session.id
}

interface Resumed {
  /** From the call, or the start of the program, to the request at the endpoint. */
  ms: number
  /** What the agent has used of a CPU until then. */
  cpuMs: number
}

async function resumed({ client, dataDir }: LocalPlatform, session: string): Promise<TimedRun & Resumed> {
  await isQuiet(client)
  const tag = nextTag()
  const arrival = front.arrival(tag)
  const before = await cpuUsedInSandboxes(dataDir)
  const startedMs = performance.now()
  const run = client.run({ prompt: tag, session })
  const ms = (await arrival) - startedMs
  const cpuMs = (await cpuUsedInSandboxes(dataDir)) - before
  const { timings } = await run
  await client.sessions.get(session).close()
  return { ms, cpuMs, timings }
}

/** What is kept ahead is there: nothing is made beside what is measured. */
async function isQuiet(client: Vm0): Promise<void> {
  for (;;) {
    const { warm, prepared } = (await client.runners.list())[0]!
    if (warm > 0 && prepared > 0) return
    await wait(20)
  }
}

async function bareResume(conversation: string): Promise<Resumed> {
  const tag = nextTag()
  const arrival = front.arrival(tag)
  const startedMs = performance.now()
  const claude = BareClaude.start(binary, front.url, folder, ['--resume', conversation])
  claude.prompt(tag)
  const ms = (await arrival) - startedMs
  const cpuMs = await cpuOfProcess(claude.pid)
  await claude.kill()
  return { ms, cpuMs }
}
