import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Vm0 } from 'vm0'
import { BareClaude, claudeBinary } from './bare-claude.js'
import { startPlatform } from './local-platform.js'
import { startModelFront, type ModelFront } from './model-front.js'
import { median, percentile, row, tableHead } from './statistics.js'

/**
 * How long until an agent is at work: from the API call (or the prompt, for the CLI without VM0) to its first model
 * request, at an endpoint in this process. All cases in turn in one run. Arguments: samples (100), starts at once (20).
 */
const samples = Number(process.argv[2] ?? 100)
const atOnce = Number(process.argv[3] ?? 20)

interface Timed {
  ms: number
  how: string
}

const front = await startModelFront()
const binary = await claudeBinary()
const folder = await makeFolder(1000)
let serial = 0
const nextTag = (): string => `bench-${(serial += 1).toString(36)}x`

const figures = new Map<string, number[]>()
const note = (name: string, ms: number): void => void figures.set(name, [...(figures.get(name) ?? []), ms])

const platform = await startPlatform(front.url, ['--warm', '4', '--idle', '600'])
try {
  for (let index = 0; index < samples; index++) {
    note('bare CLI, cold: spawn', await bareCold())
    note('bare CLI, warmed the same way: prompt', await bareWarm())
    await warmIsReady(platform.client, 1)
    const first = await timed(platform.client, {})
    if (first.how === 'warm') note('new session, warm pool', first.ms)
    note('next prompt, sandbox idle', (await timed(platform.client, { session: first.session })).ms)
    await platform.client.sessions.get(first.session).delete()
    if (index % 5 !== 0) continue
    await warmIsReady(platform.client, 1)
    const filled = await timed(platform.client, { workspace: folder })
    if (filled.how === 'warm') note('new session, warm pool, 1,000 files and a CLAUDE.md sent with the call', filled.ms)
    await platform.client.sessions.get(filled.session).close()
    const resumed = await timed(platform.client, { session: filled.session })
    note('resumed in a new sandbox, 1,000 files', resumed.ms)
    await platform.client.sessions.get(filled.session).delete()
    note('no warm sandbox of that size: cold', (await timed(platform.client, { memoryMiB: 2049 }, true)).ms)
  }
} finally {
  await platform.close()
}

const burst: string[] = []
const many = await startPlatform(front.url, ['--warm', String(atOnce)])
try {
  const bare = await bareBurst(atOnce)
  await warmIsReady(many.client, 1)
  // One run tells the pool that somebody asks; a burst of that size has to be expected, so it is asked for in rounds.
  for (let round = 0; round < 3; round++) {
    const runs = await Promise.all(Array.from({ length: atOnce }, () => timed(many.client, {}, true)))
    const warm = runs.filter(({ how }) => how === 'warm').length
    const all = runs.map(({ ms }) => ms)
    burst.push(
      `| round ${round + 1}: ${warm} of ${atOnce} warm | ${percentile(all, 0.5).toFixed(0)} | ${percentile(all, 0.99).toFixed(0)} |`,
    )
    await warmIsReady(many.client, Math.min(atOnce, 10))
  }
  burst.unshift(
    `| the bare CLIs, warmed | ${percentile(bare, 0.5).toFixed(0)} | ${percentile(bare, 0.99).toFixed(0)} |`,
  )
} finally {
  await many.close()
  await front.close()
  await rm(folder, { recursive: true, force: true })
}

const warm = figures.get('new session, warm pool') ?? []
const bareWarmed = figures.get('bare CLI, warmed the same way: prompt') ?? []
const bareColds = figures.get('bare CLI, cold: spawn') ?? []
console.log(`
To the agent's first model request. Claude Code, ${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}

${tableHead}
${[...figures].map(([name, list]) => row(name, list)).join('\n')}

VM0's own share of a warm start: ${(median(warm) - median(bareWarmed)).toFixed(0)} ms at p50, ${(percentile(warm, 0.99) - percentile(bareWarmed, 0.99)).toFixed(0)} ms at p99. A warm start takes ${(median(warm) / median(bareColds)).toFixed(2)} times the bare CLI's cold start.

| ${atOnce} starts at once | p50 | p99 |
|---|---|---|
${burst.join('\n')}`)

async function timed(
  client: Vm0,
  options: { session?: string; workspace?: string; memoryMiB?: number },
  drop = false,
): Promise<Timed & { session: string }> {
  const tag = nextTag()
  const arrival = front.arrival(tag)
  const start = performance.now()
  const { memoryMiB, ...rest } = options
  const run = client.run({ prompt: tag, ...rest, ...(memoryMiB ? { resources: { memoryMiB } } : {}) })
  const ms = (await arrival) - start
  let how = ''
  for await (const event of run) if (event.type === 'sandbox.ready') how = event.how
  await run
  if (drop) await run.session.delete()
  return { ms, how, session: run.session.id }
}

async function bareCold(): Promise<number> {
  const tag = nextTag()
  const arrival = front.arrival(tag)
  const start = performance.now()
  const claude = await BareClaude.spawn(binary, front.url)
  claude.prompt(tag)
  const ms = (await arrival) - start
  await claude.close()
  return ms
}

async function bareWarm(): Promise<number> {
  const claude = await BareClaude.spawn(binary, front.url)
  try {
    await claude.warmUp()
    return await promptToArrival(claude, front)
  } finally {
    await claude.close()
  }
}

async function bareBurst(count: number): Promise<number[]> {
  const all: BareClaude[] = []
  try {
    for (let index = 0; index < count; index++) {
      const claude = await BareClaude.spawn(binary, front.url)
      all.push(claude)
      await claude.warmUp()
    }
    return await Promise.all(all.map((claude) => promptToArrival(claude, front)))
  } finally {
    await Promise.all(all.map((claude) => claude.close()))
  }
}

async function promptToArrival(claude: BareClaude, { arrival }: ModelFront): Promise<number> {
  const tag = nextTag()
  const arrived = arrival(tag)
  const start = performance.now()
  claude.prompt(tag)
  return (await arrived) - start
}

async function warmIsReady(client: Vm0, count: number): Promise<void> {
  while ((await client.runners.list())[0]!.warm < count) await wait(20)
}

async function makeFolder(files: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'vm0-bench-files-'))
  await writeFile(join(directory, 'CLAUDE.md'), 'The house style is plain.\n')
  for (let index = 0; index < files; index++) {
    const inside = join(directory, `d${index % 20}`)
    await mkdir(inside, { recursive: true })
    await writeFile(join(inside, `f${index}.txt`), `${index}\n`.repeat(50))
  }
  return directory
}
