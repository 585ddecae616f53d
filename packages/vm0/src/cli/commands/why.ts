import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findRun } from '../find-id.js'
import { jsonLine } from '../printable.js'
import { whyLines } from '../why-view.js'
import { help, json, runArgument } from './shared-flags.js'

interface Flags {
  json: boolean
  threshold?: readonly [string, number][]
}

function parseThreshold(text: string): [string, number] {
  const [, name = '', number = ''] = /^(\w+)=([\d.]+)$/.exec(text) ?? []
  if (name === '') throw new SyntaxError(`${text} is no threshold; expected NAME=NUMBER, such as exactRepeats=5`)
  return [name, Number(number)]
}

export const why = buildCommand({
  docs: {
    brief: 'Say why a run ended as it did, and what to do',
    fullDescription: help(
      ['vm0 why', 'vm0 why 4be2a911 --threshold testRunMs=30000', 'vm0 why --json | jq .findings'],
      [
        'The cause, what was at work then, and what to do come first; then what shows it, what of how the agent worked is worth',
        'changing (with the text to put into CLAUDE.md, say), and the story of the run. By rules: no model is asked.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      json,
      threshold: {
        kind: 'parsed',
        parse: parseThreshold,
        variadic: true,
        optional: true,
        placeholder: 'NAME=NUMBER',
        brief: 'From where on something is a finding, such as exactRepeats=5 (docs/insight.md)',
      },
    },
    positional: runArgument,
  },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const run = client.runs.get(await findRun(client, given))
    const told = await run.why({ thresholds: Object.fromEntries(flags.threshold ?? []) })
    process.stdout.write(flags.json ? jsonLine(told) : `${whyLines(told, await run.get()).join('\n')}\n`)
  },
})
