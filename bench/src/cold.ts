import { availableParallelism, release, totalmem } from 'node:os'
import { BareClaude, claudeBinary } from './bare-claude.js'
import { startPlatform } from './local-platform.js'
import { startModelFront } from './model-front.js'
import { median, row, tableHead } from './statistics.js'

/**
 * From the start of the work to the agent's first model request, in turn (A B A B …) in one process that is also the
 * model endpoint, so that both have the same clock: `claude -p` spawned bare on the host, and `vm0.run()` cold.
 */
const pairs = Number(process.argv[2] ?? 10)

const front = await startModelFront()
const binary = await claudeBinary()
const platform = await startPlatform(front.url, ['--warm', '0'])
const bare: number[] = []
const cold: number[] = []
const sandbox: number[] = []
try {
  // The first pair warms the page cache and isn't counted.
  for (let pair = 0; pair <= pairs; pair++) {
    const bareTag = `bench-a${pair}`
    const bareArrival = front.arrival(bareTag)
    const bareStart = performance.now()
    const claude = await BareClaude.spawn(binary, front.url)
    claude.prompt(bareTag)
    const bareMs = (await bareArrival) - bareStart
    await claude.close()

    const runTag = `bench-b${pair}`
    const runArrival = front.arrival(runTag)
    const runStart = performance.now()
    const run = platform.client.run({ framework: 'claude-code', prompt: runTag })
    const runMs = (await runArrival) - runStart
    const { timings } = await run
    await run.session.delete()
    if (pair === 0) continue
    bare.push(bareMs)
    cold.push(runMs)
    sandbox.push(timings.sandboxReadyMs ?? Number.NaN)
  }
} finally {
  await platform.close()
  await front.close()
}

const added = cold.map((ms, index) => ms - (bare[index] as number))
const ratios = cold.map((ms, index) => ms / (bare[index] as number))
console.log(`
Start → first model request, ${pairs} pairs in turn, Claude Code on ${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}

${tableHead}
${row('bare `claude -p`: spawn → first model request', bare)}
${row('`vm0.run()` cold: API call → first model request', cold)}
${row('of that until the sandbox is ready', sandbox)}
${row('what the platform adds, pair by pair', added)}

vm0.run() cold takes ${median(ratios).toFixed(2)} times the bare CLI (median of the pairs).`)
