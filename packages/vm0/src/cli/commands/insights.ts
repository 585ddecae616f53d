import { buildCommand, numberParser, type CommandContext } from '@stricli/core'
import type { CohortKey } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { findRun } from '../find-id.js'
import { comparisonLines, insightLines } from '../insights-view.js'
import { jsonLine } from '../printable.js'
import { since } from '../since.js'
import { help, json, label } from './shared-flags.js'

interface Flags {
  json: boolean
  by: CohortKey
  limit: number
  since?: Date
  label?: string
}

function parseBy(text: string): CohortKey {
  if (/^(template|release|model)$|^label:.{1,64}$/.test(text)) return text as CohortKey
  throw new SyntaxError(
    `${text} is nothing that runs are put together by; expected label:NAME, template, release or model`,
  )
}

export const insights = buildCommand({
  docs: {
    brief: 'Compare groups of runs: success, time, cost, failures, findings',
    fullDescription: help(
      [
        'vm0 insights --by label:variant',
        'vm0 insights --by template --since 7d',
        'vm0 insights --by model --json | jq .cohorts',
      ],
      [
        'Numbers in parentheses are 95% intervals. A difference from the largest group is told where its interval leaves no doubt',
        'of its direction. Label runs by what you change (`labels` of a run) to see what the change does.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      json,
      by: {
        kind: 'parsed',
        parse: parseBy,
        default: 'release',
        placeholder: 'WHAT',
        brief: 'label:NAME, template, release (of the agent) or model',
      },
      since,
      label,
      limit: {
        kind: 'parsed',
        parse: numberParser,
        default: '200',
        brief: 'Look at so many of the newest (at most 1000)',
      },
    },
  },
  async func(this: CommandContext, { json: asJson, by, limit, since: from, label: only }: Flags) {
    const told = await createClient().insights({
      by,
      limit,
      ...(from ? { since: from } : {}),
      ...(only ? { label: only } : {}),
    })
    process.stdout.write(asJson ? jsonLine(told) : `${insightLines(told).join('\n')}\n`)
  },
})

export const compare = buildCommand({
  docs: {
    brief: 'Show two runs beside each other',
    fullDescription: help(
      ['vm0 compare 4be2a911 9f3c1e70', 'vm0 compare 4be2a911 9f3c1e70 --json | jq .settings'],
      'What they were given that differs, what came out, and which tool calls one has that the other has not.',
    ),
  },
  parameters: {
    flags: { json },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'A run', parse: String, placeholder: 'RUN' },
        { brief: 'Another one', parse: String, placeholder: 'RUN' },
      ],
    },
  },
  async func(this: CommandContext, flags: { json: boolean }, first: string, second: string) {
    const client = createClient()
    const [a, b] = [await findRun(client, first), await findRun(client, second)]
    const told = await client.runs.compare(a, b)
    const lines = comparisonLines(told, process.stdout.columns ?? 100)
    process.stdout.write(flags.json ? jsonLine(told) : `${lines.join('\n')}\n`)
  },
})
