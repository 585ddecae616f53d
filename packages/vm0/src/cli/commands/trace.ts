import { writeFile } from 'node:fs/promises'
import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findRun } from '../find-id.js'
import { duration, money, shortId } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { bold, dim } from '../style.js'
import { waterfall } from '../trace/waterfall.js'
import { help, json, runArgument } from './shared-flags.js'

interface Flags {
  json: boolean
  otlp?: string
  perfetto?: string
  html?: string
}

const file = (brief: string) => ({ kind: 'parsed', parse: String, optional: true, placeholder: 'FILE', brief }) as const

export const trace = buildCommand({
  docs: {
    brief: 'Show where the time and the money of a run went',
    fullDescription: help(
      [
        'vm0 trace',
        'vm0 trace 4be2a911 --json | jq .spans',
        'vm0 trace --otlp trace.json',
        'vm0 trace --perfetto run.json',
        'vm0 trace --html run.html',
      ],
      [
        'A line for each model request and tool call, as long as it took. What has no end was open when the run died, or goes on.',
        'OTLP is what OpenTelemetry collectors take at /v1/traces; ui.perfetto.dev opens the other one. The page needs nothing else:\nno script, nothing that is fetched; it has what tools were asked and said, so look at it before you send it.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      json,
      otlp: file('Write it as OTLP/JSON to this file'),
      perfetto: file('Write it as a Chrome trace to this file'),
      html: file('Write the run as one page to this file'),
    },
    positional: runArgument,
  },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const run = client.runs.get(await findRun(client, given))
    for (const format of ['otlp', 'perfetto'] as const) {
      const path = flags[format]
      if (path !== undefined) await writeFile(path, `${JSON.stringify(await run.trace({ format }))}\n`)
    }
    if (flags.html !== undefined) await writeFile(flags.html, await run.trace({ format: 'html' }))
    if (flags.json) process.stdout.write(jsonLine(await run.trace()))
    if (flags.json || flags.html !== undefined || flags.otlp !== undefined || flags.perfetto !== undefined) return
    const [view, drawn] = [await run.get(), await run.trace()]
    const how = [view.state, view.reason === view.state ? null : view.reason].filter(Boolean).join(' ')
    const facts = [how, duration(drawn.durationMs), money(view.costUsd)].map((fact) => printableLine(fact))
    const head = `${bold(`run ${shortId(view.id)}`)}   ${facts.join('   ')}   ${dim(`trace ${printableLine(drawn.traceId)}`)}`
    process.stdout.write(`${[head, ...waterfall(drawn, process.stdout.columns ?? 100)].join('\n')}\n`)
  },
})
