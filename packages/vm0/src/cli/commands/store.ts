import { buildCommand, type CommandContext } from '@stricli/core'
import type { StoreProblem, StoreReport } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { byteCount, count, shortId } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { dim, green, red } from '../style.js'
import { durationMs } from './keys.js'
import { help, json } from './shared-flags.js'

const damagedStatus = 3

interface FsckFlags {
  deep: boolean
  json: boolean
}

export const fsck = buildCommand({
  docs: {
    brief: 'Check that all is there that sessions are made of',
    fullDescription: help(
      ['vm0 fsck', 'vm0 fsck --deep', "vm0 fsck --json | jq -r '.sessions[]?.id'"],
      [
        'Names each object that is missing or damaged, with the checkpoints and sessions that need it. --deep reads every byte',
        'and compares its digest. Needs a key with the scope `installation`, such as that of `vm0 up`.',
        'Exit status: 0 all is whole, 3 something is damaged.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      deep: { kind: 'boolean', default: false, withNegated: false, brief: 'Read every byte' },
      json,
    },
  },
  async func(this: CommandContext, flags: FsckFlags) {
    const onProgress = (message: string): void => {
      if (!flags.json && process.stderr.isTTY) process.stderr.write(`${printableLine(message)}\n`)
    }
    const report = await createClient().store.fsck({ deep: flags.deep, onProgress })
    if (report.problems.length > 0) process.exitCode = damagedStatus
    if (flags.json) for (const line of objects(report)) process.stdout.write(jsonLine(line))
    else for (const line of sentences(report)) process.stdout.write(`${line}\n`)
  },
})

function* objects({ problems, ...counts }: StoreReport): Generator<object> {
  for (const problem of problems) yield { type: 'problem', ...problem }
  yield { type: 'checked', ...counts, problems: problems.length }
}

function* sentences({ problems, ...counts }: StoreReport): Generator<string> {
  for (const problem of problems) {
    yield `${red('✗')} ${printableLine(problem.message)}`
    for (const line of hit(problem)) yield `    ${line}`
  }
  const looked = `${count(counts.checkpoints, 'checkpoint')}, ${count(counts.layers, 'layer')}, ${count(counts.templates, 'template')}`
  yield problems.length === 0
    ? `${green('✓')} all is whole: ${looked}`
    : `${count(problems.length, 'problem')} in ${looked}`
}

function* hit({ checkpoints, sessions }: StoreProblem): Generator<string> {
  for (const { project, id, head } of sessions)
    yield `session ${id} (project ${project}) ${head ? 'can not be opened' : dim('has lost an earlier state; it opens')}`
  yield dim(`checkpoints ${checkpoints.map(shortId).join(' ')}`)
}

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
