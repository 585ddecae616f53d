import { numberParser } from '@stricli/core'

export const json = { kind: 'boolean', default: false, withNegated: false, brief: 'One object a line' } as const
export const limit = { kind: 'parsed', parse: numberParser, default: '20', brief: 'How many' } as const
export const label = {
  kind: 'parsed',
  parse: String,
  optional: true,
  placeholder: 'NAME=VALUE',
  brief: 'Only those with this label',
} as const
export const session = {
  kind: 'parsed',
  parse: String,
  optional: true,
  brief: 'Session (VM0_SESSION; default: the one used last)',
} as const

/** A session as the only argument. */
export const sessionArgument = {
  kind: 'tuple',
  parameters: [
    {
      brief: 'Session (VM0_SESSION; default: the one used last)',
      parse: String,
      placeholder: 'SESSION',
      optional: true,
    },
  ],
} as const

/** A run as the only argument. */
export const runArgument = {
  kind: 'tuple',
  parameters: [{ brief: 'Run (default: the latest)', parse: String, placeholder: 'RUN', optional: true }],
} as const

/** The longer help of a command: what there is to know, then examples. */
export function help(examples: readonly string[], text = ''): string {
  return [...(text ? [text, ''] : []), 'Examples:', ...examples.map((example) => `  ${example}`)].join('\n')
}
