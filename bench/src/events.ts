import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openEventLog } from '@vm0/backends'
import type { Vm0Event } from '@vm0/contract'
import { startPlatform } from './local-platform.js'
import { startModelFront } from './model-front.js'
import { median } from './statistics.js'

/**
 * The way of events: how many a log takes in a second, and how long the first page, one in the middle, the last one, and the
 * whole of a run of 50,000 events take by the API, of a real `vm0 up` over HTTP.
 */
const count = Number(process.argv[2] ?? 50_000)
const pageSize = 1_000
const rounds = 10

const front = await startModelFront()
const platform = await startPlatform(front.url, ['--warm', '0'])
try {
  const run = platform.client.run({ prompt: 'bench-events' })
  await run
  const folder = join(platform.dataDir, 'events', 'default', run.session.id)
  const name = `${run.id}.ndjson`
  const lines = (await readFile(join(folder, name), 'utf8')).trimEnd().split('\n')
  const end = JSON.parse(lines.pop() as string) as Vm0Event

  const startedMs = performance.now()
  const scope = { projectId: 'default', sessionId: run.session.id, runId: 'written' }
  const writer = await openEventLog(join(platform.dataDir, 'events')).open(scope, 1)
  for (let index = 0; index < count; index += 1) {
    writer.append({ type: 'stderr', text: `line ${index} of what a long run printed` })
    if (index % 100 === 99) await new Promise(setImmediate)
  }
  await writer.close()
  const writtenMs = performance.now() - startedMs

  // The run as it would be with so many events: they stand before its last one.
  const [epoch = 1, seq = 1] = end.cursor.split('.').map(Number)
  const many = Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      ...end,
      cursor: `${epoch}.${seq + index}`,
      type: 'stderr',
      text: `line ${index} of what a long run printed`,
    }),
  )
  const last = JSON.stringify({ ...end, cursor: `${epoch}.${seq + count}` })
  await writeFile(join(folder, name), `${[...lines, ...many, last].join('\n')}\n`)

  const page = async (after: string, limit: number): Promise<{ ms: number; events: number }> => {
    const sentMs = performance.now()
    const response = await fetch(`${platform.url}/v1/runs/${run.id}/events?after=${after}&limit=${limit}`, {
      headers: { authorization: `Bearer ${platform.apiKey}`, accept: 'application/x-ndjson' },
    })
    const text = await response.text()
    return { ms: performance.now() - sentMs, events: text.split('\n').length - 1 }
  }
  const at = async (what: string, after: string, limit: number): Promise<void> => {
    const taken: { ms: number; events: number }[] = []
    for (let round = 0; round < rounds; round += 1) taken.push(await page(after, limit))
    const ms = taken.map((each) => each.ms)
    console.log(
      `${what}: ${median(ms).toFixed(0)} ms (at most ${Math.max(...ms).toFixed(0)}), ${taken[0]?.events} events`,
    )
  }
  console.log(`written: ${count} events at ${Math.round((count / writtenMs) * 1000)} a second, all of them flushed`)
  await at('first page', '0.0', pageSize)
  await at('a page in the middle', `${epoch}.${seq + Math.floor(count / 2)}`, pageSize)
  await at('the last page', `${epoch}.${seq + count - pageSize}`, pageSize)
  await at('the whole run', '0.0', 100_000)
} finally {
  await platform.close()
  await front.close()
}
