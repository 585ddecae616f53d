import { buildCommand, numberParser, type CommandContext } from '@stricli/core'
import { Vm0Error } from '@vm0/contract/client'
import { createClient, type Vm0 } from '../../client.js'
import type { RunResult } from '../../run-result.js'
import { addRun, figureLines, figuresOf, type Samples, type StageFigures } from '../bench/stages.js'
import { jsonLine } from '../printable.js'
import { help, json } from './shared-flags.js'

interface Flags {
  json: boolean
  samples: number
  prompt: string
}

const mostSamples = 1000

/** How long this installation takes until an agent is at work, as its users feel it. */
export const bench = buildCommand({
  docs: {
    brief: 'Measure how long until an agent is at work, on this installation',
    fullDescription: help(
      ['vm0 bench', 'vm0 bench --samples 100', 'vm0 bench --json | jq .cases'],
      [
        'Each sample is two real runs, a new session and its next prompt, which cost what the model takes for them; the sessions',
        'are deleted. Stages are counted from the moment at which the server had the call; the last line is what passed here.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      json,
      samples: { kind: 'parsed', parse: numberParser, default: '10', brief: `How many (at most ${mostSamples})` },
      prompt: { kind: 'parsed', parse: String, default: 'Answer with the word ok.', brief: 'What the agent is asked' },
    },
  },
  async func(this: CommandContext, { json: asJson, samples, prompt }: Flags) {
    if (!Number.isSafeInteger(samples) || samples < 1 || samples > mostSamples)
      throw new Vm0Error('INVALID_REQUEST', `--samples is ${samples}; expected a whole number from 1 to ${mostSamples}`)
    const client = createClient()
    const fresh: Samples = new Map()
    const next: Samples = new Map()
    const pool = { hit: 0, miss: 0 }
    for (let index = 0; index < samples; index++) {
      if (process.stderr.isTTY) process.stderr.write(`\r${index + 1} of ${samples} `)
      const first = await timed(client, { prompt })
      const session = client.sessions.get(first.result.session.id)
      try {
        addRun(fresh, first.result.timings, first.seenMs)
        const { pool: answer } = first.result.timings
        if (answer) pool[answer] += 1
        const second = await timed(client, { prompt, session })
        addRun(next, second.result.timings, second.seenMs)
      } finally {
        await session.delete()
      }
    }
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
    const cases: Record<string, StageFigures[]> = { 'new session': figuresOf(fresh), 'next prompt': figuresOf(next) }
    const lines = Object.entries(cases).flatMap(([title, figures]) => [...figureLines(title, figures), ''])
    const warm = `${pool.hit} of ${pool.hit + pool.miss} new sessions found a warm sandbox.`
    process.stdout.write(asJson ? jsonLine({ samples, pool, cases }) : `${[...lines, warm].join('\n')}\n`)
  },
})

async function timed(client: Vm0, options: Parameters<Vm0['run']>[0]): Promise<{ result: RunResult; seenMs?: number }> {
  const startedMs = performance.now()
  let seenMs: number | undefined
  const run = client.run(options)
  for await (const event of run) if (event.type === 'message.delta') seenMs ??= performance.now() - startedMs
  const result = await run
  return { result, ...(seenMs === undefined ? {} : { seenMs }) }
}
