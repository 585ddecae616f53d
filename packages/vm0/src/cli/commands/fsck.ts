import { resolve } from 'node:path'
import { buildCommand, type CommandContext } from '@stricli/core'
import { Vm0Error, type RebuildReport, type StoreProblem, type StoreReport } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { count, shortId } from '../format.js'
import { loadPlatform } from '../load-platform.js'
import { jsonLine, printableLine } from '../printable.js'
import { setting } from '../setting.js'
import { dim, green, red, yellow } from '../style.js'
import { help, json } from './shared-flags.js'

const damagedStatus = 3

interface FsckFlags {
  deep: boolean
  rebuild: boolean
  data?: string
  json: boolean
}

export const fsck = buildCommand({
  docs: {
    brief: 'Check that all is there that sessions are made of',
    fullDescription: help(
      [
        'vm0 fsck',
        'vm0 fsck --deep',
        "vm0 fsck --json | jq -r '.sessions[]?.id'",
        'vm0 fsck --rebuild --data /srv/vm0',
      ],
      [
        'Names each object that is missing or damaged, with the checkpoints and sessions that need it. --deep reads every byte',
        'and compares its digest. Needs a key with the scope `installation`, such as that of `vm0 up`.',
        '--rebuild makes the database anew from the store alone, for a data folder whose `vm0 up` is stopped: sessions with',
        'conversation, files and software, their checkpoints and projects. Rows that are there stay. Runs with their prompts and',
        "results, sessions' labels and resources, and keys are not in the store. Sessions that were deleted within the last",
        'hours may come back.',
        'Exit status: 0 all is whole, 3 something is damaged.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      deep: { kind: 'boolean', default: false, withNegated: false, brief: 'Read every byte' },
      rebuild: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Make the database anew from the store; `vm0 up` must be stopped',
      },
      data: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'Folder to rebuild (VM0_DATA)',
        placeholder: 'DIR',
      },
      json,
    },
  },
  async func(this: CommandContext, flags: FsckFlags) {
    const onProgress = (message: string): void => {
      if (!flags.json && process.stderr.isTTY) process.stderr.write(`${printableLine(message)}\n`)
    }
    if (!flags.rebuild && flags.data !== undefined)
      throw new Vm0Error('INVALID_REQUEST', '--data is for --rebuild; a check asks the server that runs', {
        hint: 'Leave --data out, or stop `vm0 up` and add --rebuild.',
      })
    const { deep } = flags
    if (flags.rebuild) {
      const data = setting(flags.data, 'VM0_DATA')
      const platform = await loadPlatform()
      const report = await platform.rebuild({ deep, onProgress, ...(data ? { dataDir: resolve(data) } : {}) })
      tell(report.problems, flags.json ? [{ type: 'rebuilt', ...report }] : rebuilt(report), flags.json)
    } else {
      const report = await createClient().store.fsck({ deep, onProgress })
      tell(report.problems, flags.json ? objects(report) : sentences(report), flags.json)
    }
  },
})

function tell(problems: readonly unknown[], lines: Iterable<object | string>, asJson: boolean): void {
  if (problems.length > 0) process.exitCode = damagedStatus
  for (const line of lines) process.stdout.write(asJson ? jsonLine(line as object) : `${String(line)}\n`)
}

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

function* rebuilt(report: RebuildReport): Generator<string> {
  for (const { message } of report.problems) yield `${red('✗')} ${printableLine(message)}`
  for (const { project, id, head, newest, why } of report.behind) {
    const stands = head === null ? 'could not be rebuilt' : `stands at ${shortId(head)}`
    const reason = why === 'damaged' ? 'is damaged' : 'is in the store; the row was there and stays'
    yield `${yellow('!')} session ${id} (project ${project}) ${stands}: its newest checkpoint ${shortId(newest)} ${reason}`
  }
  yield `${green('✓')} made anew: ${count(report.sessions, 'session')}, ${count(report.checkpoints, 'checkpoint')}, ${count(report.projects, 'project')}, ${count(report.templates, 'template version')}, ${count(report.uploads, 'upload')}`
  yield dim('  Not in the store: runs with their prompts and results, labels and resources of sessions, keys.')
  if (report.key !== null) yield `  New key of this installation: ${report.key}`
}
