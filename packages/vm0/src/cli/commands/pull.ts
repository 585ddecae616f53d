import { resolve } from 'node:path'
import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findSession } from '../find-id.js'
import { count, shortId } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { readRecord, writeRecord } from '../folder/folder-record.js'
import { ProgressBar } from '../folder/progress-bar.js'
import { pullFolder, type PullResult } from '../pull/pull-folder.js'
import { dim, green, yellow } from '../style.js'
import { help, json, sessionArgument } from './shared-flags.js'

interface Flags {
  output?: string
  force: boolean
  all: boolean
  delete: boolean
  json: boolean
}

export const pull = buildCommand({
  docs: {
    brief: "Bring a session's /workspace into a local folder",
    fullDescription: help(
      ['vm0 pull', 'vm0 pull 9f3c1e70 -o ./result', 'vm0 pull --force'],
      [
        'Into the folder that `vm0 run -w` sent, else into ./vm0-SESSION. A file that you changed since, or that was never',
        'sent, is not overwritten: then nothing is pulled, unless --force says so.',
        'Only what differs is fetched. What .gitignore and .vm0ignore exclude stays out, and so does .git, whose hooks would',
        'run here: --all brings them.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      output: { kind: 'parsed', parse: String, optional: true, brief: 'Local folder', placeholder: 'DIR' },
      force: { kind: 'boolean', default: false, withNegated: false, brief: 'Overwrite what was changed here' },
      all: { kind: 'boolean', default: false, withNegated: false, brief: 'Also ignored files and .git' },
      delete: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Remove files that the session deleted and that were not changed here',
      },
      json,
    },
    aliases: { o: 'output' },
    positional: sessionArgument,
  },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const id = await findSession(client, given)
    const record = await readRecord(id)
    const folder = resolve(flags.output ?? record?.folder ?? `vm0-${shortId(id)}`)
    const { force, all, delete: remove } = flags
    const bar = new ProgressBar(process.stderr)
    const options = { folder, force, all, remove, record, onProgress: bar.show }
    const result = await pullFolder(client.sessions.get(id), options).finally(() => bar.clear())
    if (!record || record.folder === folder) await writeRecord(id, result.record)
    if (flags.json) for (const line of objects(result, id, folder)) process.stdout.write(jsonLine(line))
    else for (const line of sentences(result, folder)) process.stdout.write(`${line}\n`)
  },
})

function* objects({ plan, removed, skipped }: PullResult, sessionId: string, folder: string) {
  for (const { entry, change } of plan.write) if (entry.kind !== 'folder') yield { type: change, path: entry.name }
  for (const { name } of plan.gone) yield { type: removed.includes(name) ? 'deleted' : 'kept', path: name }
  for (const entry of skipped) yield { type: 'skipped', ...entry }
  yield { type: 'pulled', sessionId, folder }
}

function* sentences({ plan, removed, skipped }: PullResult, folder: string) {
  const files = plan.write.filter(({ entry }) => entry.kind !== 'folder')
  for (const { entry, change } of files)
    yield `  ${change === 'added' ? green('+') : yellow('~')} ${printableLine(entry.name)}`
  for (const { name } of plan.gone)
    yield removed.includes(name)
      ? `  − ${printableLine(name)}`
      : dim(
          `  deleted in the session, still here: ${printableLine(name)} (--delete removes it if you did not change it)`,
        )
  for (const { path, reason } of skipped) yield dim(`  left out: ${printableLine(path)}: ${printableLine(reason)}`)
  yield `${green('✓')} ${count(files.length, 'file')} into ${folder}`
}
