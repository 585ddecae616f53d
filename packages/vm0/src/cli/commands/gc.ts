import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { byteCount, count } from '../format.js'
import { jsonLine } from '../printable.js'
import { green } from '../style.js'
import { durationMs } from './keys.js'
import { help, json } from './shared-flags.js'

interface GcFlags {
  grace?: number
  dryRun: boolean
  json: boolean
}

export const gc = buildCommand({
  docs: {
    brief: 'Remove what no session needs any more',
    fullDescription: help(
      ['vm0 gc', 'vm0 gc --dry-run', 'vm0 gc --grace 1d'],
      [
        'The server does so by itself once an hour. What was written within the grace time stays: it may belong to a save that',
        'is at work. Needs a key with the scope `installation`, such as that of `vm0 up`.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      grace: {
        kind: 'parsed',
        parse: durationMs,
        optional: true,
        brief: 'Keep what is younger; a minute at least (default: 1h)',
        placeholder: '1h',
      },
      dryRun: { kind: 'boolean', default: false, withNegated: false, brief: 'Only say what would go' },
      json,
    },
  },
  async func(this: CommandContext, { grace, dryRun, json: asJson }: GcFlags) {
    const report = await createClient().store.gc({ dryRun, ...(grace === undefined ? {} : { graceMs: grace }) })
    const { removed, removedBytes, kept } = report
    process.stdout.write(
      asJson
        ? jsonLine({ ...report, dryRun })
        : `${green('✓')} ${count(removed, 'object')} ${dryRun ? 'would be' : removed === 1 ? 'was' : 'were'} removed (${byteCount(removedBytes)}), ${kept} kept\n`,
    )
  },
})
