import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Vm0 } from 'vm0'
import { BareClaude, claudeBinary } from './bare-claude.js'
import { startPlatform } from './local-platform.js'
import { measureFrozen } from './frozen.js'
import { cpuOfSandboxes, memoryOfSandboxes } from './sandbox-use.js'
import { startModelFront, type ModelFront } from './model-front.js'
import { median, percentile, row, tableHead } from './statistics.js'
import { waterfallOfMedian, type TimedRun } from './waterfall.js'

/**
 * How long until an agent is at work: from the API call (or the prompt, for the CLI without VM0) to its first model
 * request, at an endpoint in this process. All cases in turn in one run. Arguments: samples (100), starts at once (20).
 */
const samples = Number(process.argv[2] ?? 100)
const atOnce = Number(process.argv[3] ?? 20)
const frozenSessions = 50

interface Timed extends TimedRun {
  how: string
}

const front = await startModelFront()
const binary = await claudeBinary()
const folder = await makeFolder(1000)
let serial = 0
const nextTag = (): string => `bench-${(serial += 1).toString(36)}x`

const figures = new Map<string, number[]>()
const note = (name: string, ms: number): void => void figures.set(name, [...(figures.get(name) ?? []), ms])

// What a resume without VM0 finds ready: the same files, and a conversation in its home.
const bareFolder = await makeFolder(1000)
const bareConversation = await BareClaude.converse(binary, front.url, bareFolder, nextTag())

const warmRuns: TimedRun[] = []
const platform = await startPlatform(front.url, ['--warm', '4', '--idle', '600', '--freeze', '1'])
try {
  for (let index = 0; index < samples; index++) {
    note('bare CLI, cold: spawn', await bareCold())
    note('bare CLI, warmed the same way: prompt', await bareWarm())
    await warmIsReady(platform.client, 1)
    const first = await timed(platform.client, {})
    if (first.how === 'warm') {
      note('new session, warm pool', first.ms)
      warmRuns.push(first)
    }
    note('next prompt, sandbox idle', (await timed(platform.client, { session: first.session })).ms)
    if (index % 2 === 0) {
      await frozen(platform.client, 1)
      note('next prompt, sandbox frozen', (await timed(platform.client, { session: first.session })).ms)
    }
    await platform.client.sessions.get(first.session).delete()
    if (index % 5 !== 0) continue
    await warmIsReady(platform.client, 1)
    const filled = await timed(platform.client, { workspace: folder })
    if (filled.how === 'warm') note('new session, warm pool, 1,000 files and a CLAUDE.md sent with the call', filled.ms)
    await platform.client.sessions.get(filled.session).close()
    await isPrepared(platform.client)
    const resumed = await timed(platform.client, { session: filled.session })
    note('resumed in a new sandbox, 1,000 files', resumed.ms)
    note('bare CLI, --resume in a ready folder of 1,000 files', await bareResume())
    await platform.client.sessions.get(filled.session).delete()
    note('no warm sandbox of that size: cold', (await timed(platform.client, { memoryMiB: 2049 + index }, true)).ms)
    await warmIsReady(platform.client, 1)
    await isPrepared(platform.client)
    note('pool exhausted: cold', await exhausted(platform.client))
  }
} finally {
  await platform.close()
}

const lines: string[] = []
process.env.VM0_MAX_SANDBOXES = String(3 * atOnce)
const many = await startPlatform(front.url, ['--warm', String(atOnce), '--warm-min', String(atOnce), '--freeze', '1'])
try {
  const bare = await bareBurst(atOnce)
  const burst = (name: string, list: readonly number[]): void =>
    void lines.push(`| ${name} | ${percentile(list, 0.5).toFixed(0)} | ${percentile(list, 0.99).toFixed(0)} |`)
  burst('the bare CLIs, warmed', bare)
  const sessions: string[] = []
  const all: number[] = []
  for (let round = 0; round < 3; round++) {
    await warmIsReady(many.client, atOnce)
    const runs = await Promise.all(Array.from({ length: atOnce }, () => timed(many.client, {})))
    const warm = runs.filter(({ how }) => how === 'warm').length
    burst(
      `round ${round + 1}: ${warm} of ${atOnce} warm`,
      runs.map(({ ms }) => ms),
    )
    all.push(...runs.map(({ ms }) => ms))
    sessions.push(...runs.map(({ session }) => session))
    if (round < 2) await Promise.all(sessions.splice(0).map((id) => many.client.sessions.get(id).delete()))
  }
  lines.push(
    '',
    `p99 of all rounds: ${(percentile(all, 0.99) / percentile(bare, 0.99)).toFixed(1)} times that of the bare CLIs.`,
  )
  await frozen(many.client, atOnce)
  await warmIsReady(many.client, atOnce)
  const use = await memoryOfSandboxes(many.dataDir)
  const mebibytes = median(use) / 1024 ** 2
  lines.push(
    '',
    `Memory of ${use.length} sandboxes, half of them warm and half frozen with a session: ${mebibytes.toFixed(0)} MiB each (median of what their control groups are charged for), ${(1024 / mebibytes).toFixed(1)} per GiB.`,
    `All of them together used ${(await cpuOfSandboxes(many.dataDir, 10_000)).toFixed(2)}% of a core over ten seconds.`,
  )
} finally {
  await many.close()
}

let frozenFigures: string
try {
  frozenFigures = await measureFrozen(front, nextTag, frozenSessions)
} finally {
  await front.close()
  await rm(folder, { recursive: true, force: true })
  await rm(bareFolder, { recursive: true, force: true })
}

const warm = figures.get('new session, warm pool') ?? []
const bareWarmed = figures.get('bare CLI, warmed the same way: prompt') ?? []
const bareColds = figures.get('bare CLI, cold: spawn') ?? []
console.log(`
To the agent's first model request. Claude Code, ${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}

${tableHead}
${[...figures].map(([name, list]) => row(name, list)).join('\n')}

VM0's own share of a warm start: ${(median(warm) - median(bareWarmed)).toFixed(0)} ms at p50, ${(percentile(warm, 0.99) - percentile(bareWarmed, 0.99)).toFixed(0)} ms at p99. A warm start takes ${(median(warm) / median(bareColds)).toFixed(2)} times the bare CLI's cold start, one that finds the pool exhausted ${ratio('pool exhausted: cold', 'bare CLI, cold: spawn')} times, one of a size that is not kept ${ratio('no warm sandbox of that size: cold', 'bare CLI, cold: spawn')} times; a resume in a new sandbox ${ratio('resumed in a new sandbox, 1,000 files', 'bare CLI, --resume in a ready folder of 1,000 files')} times the bare --resume.

${waterfallOfMedian(warmRuns)}

| ${atOnce} starts at once | p50 | p99 |
|---|---|---|
${lines.join('\n')}

${frozenFigures}`)

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
  const { timings } = await run
  if (drop) await run.session.delete()
  return { ms, how, timings, session: run.session.id }
}

/** New sessions one right after the other, until one finds nothing warm any more: what that one takes. */
async function exhausted(client: Vm0): Promise<number> {
  for (;;) {
    const { ms, how, timings } = await timed(client, {}, true)
    if (how === 'cold' && timings.pool === 'miss') return ms
  }
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

async function bareResume(): Promise<number> {
  const tag = nextTag()
  const arrival = front.arrival(tag)
  const start = performance.now()
  const claude = BareClaude.start(binary, front.url, bareFolder, ['--resume', bareConversation])
  claude.prompt(tag)
  const ms = (await arrival) - start
  await claude.kill()
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

function ratio(name: string, beside: string): string {
  return (median(figures.get(name) ?? []) / median(figures.get(beside) ?? [])).toFixed(2)
}

async function frozen(client: Vm0, count: number): Promise<void> {
  while ((await client.runners.list())[0]!.frozen < count) await wait(20)
}

async function warmIsReady(client: Vm0, count: number): Promise<void> {
  while ((await client.runners.list())[0]!.warm < count) await wait(20)
}

/** A sandbox without an agent waits, as it does on a host where sessions don't come back every second. */
async function isPrepared(client: Vm0): Promise<void> {
  while ((await client.runners.list())[0]!.prepared === 0) await wait(20)
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
