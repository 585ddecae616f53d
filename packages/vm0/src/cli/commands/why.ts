import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findRun } from '../find-id.js'
import { jsonLine } from '../printable.js'
import { whyLines } from '../why-view.js'
import { help, json, runArgument } from './shared-flags.js'

export const why = buildCommand({
  docs: {
    brief: 'Say why a run ended as it did, and what to do',
    fullDescription: help(
      ['vm0 why', 'vm0 why 4be2a911', 'vm0 why --json | jq .findings'],
      [
        'The cause, what was at work then, and what to do come first; then what shows it, what of how the agent worked is worth',
        'changing (with the text to put into CLAUDE.md, say), and the story of the run. By rules: no model is asked.',
      ].join('\n'),
    ),
  },
  parameters: { flags: { json }, positional: runArgument },
  async func(this: CommandContext, flags: { json: boolean }, given?: string) {
    const client = createClient()
    const run = client.runs.get(await findRun(client, given))
    const told = await run.why()
    process.stdout.write(flags.json ? jsonLine(told) : `${whyLines(told, await run.get()).join('\n')}\n`)
  },
})
