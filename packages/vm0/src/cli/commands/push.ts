import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { buildCommand, type CommandContext } from '@stricli/core'
import { Vm0Error } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { findSession } from '../find-id.js'
import { readRecord, writeRecord } from '../folder/folder-record.js'
import { ProgressBar, size } from '../folder/progress-bar.js'
import { count, shortId } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { pushFolder, type PushResult } from '../push/push-folder.js'
import { dim, green, yellow } from '../style.js'
import { help, json, sessionArgument } from './shared-flags.js'

interface Flags {
  workspace?: string
  force: boolean
  all: boolean
  delete: boolean
  json: boolean
}

export const push = buildCommand({
  docs: {
    brief: "Bring a local folder's changes into a session's /workspace",
    fullDescription: help(
      ['vm0 push', 'vm0 push 9f3c1e70 -w .', 'vm0 push --delete'],
      [
        'From the folder that `vm0 run -w` sent or `vm0 pull` filled, or the one that -w names. Only what differs is sent. A',
        'file that was changed in the session since is not overwritten: if it was changed here too, nothing is pushed, unless',
        '--force says so. What .gitignore and .vm0ignore exclude stays out, and so does .git: --all sends them.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      workspace: { kind: 'parsed', parse: String, optional: true, brief: 'Local folder', placeholder: 'DIR' },
      force: { kind: 'boolean', default: false, withNegated: false, brief: 'Overwrite what was changed there' },
      all: { kind: 'boolean', default: false, withNegated: false, brief: 'Also ignored files and .git' },
      delete: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Remove files that are gone from here and that the session did not change',
      },
      json,
    },
    aliases: { w: 'workspace' },
    positional: sessionArgument,
  },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const id = await findSession(client, given)
    const record = await readRecord(id)
    const folder = await localFolder(flags.workspace ?? record?.folder, id)
    const { force, all, delete: remove } = flags
    const bar = new ProgressBar(process.stderr)
    const options = { folder, force, all, remove, record, onProgress: bar.show }
    const result = await pushFolder(client.sessions.get(id), options).finally(() => bar.clear())
    await writeRecord(id, result.record)
    if (flags.json) for (const line of objects(result, id, folder)) process.stdout.write(jsonLine(line))
    else for (const line of sentences(result, id)) process.stdout.write(`${line}\n`)
  },
})

async function localFolder(given: string | undefined, session: string): Promise<string> {
  if (given === undefined)
    throw new Vm0Error('INVALID_REQUEST', `no folder is known for session ${shortId(session)}; expected one`, {
      hint: 'Name it: `vm0 push -w DIR`.',
    })
  const folder = resolve(given)
  const info = await stat(folder).catch(() => undefined)
  if (!info?.isDirectory()) throw new Vm0Error('WORKSPACE_INVALID', `${folder} is not a folder; expected one`)
  return folder
}

function* objects({ plan, removed, bytes, savedBytes }: PushResult, sessionId: string, folder: string) {
  for (const { entry, change } of plan.send) if (entry.kind !== 'folder') yield { type: change, path: entry.path }
  for (const path of plan.theirs) yield { type: 'theirs', path }
  for (const { path } of plan.gone) yield { type: removed.includes(path) ? 'deleted' : 'kept', path }
  yield { type: 'pushed', sessionId, folder, bytes, savedBytes }
}

function* sentences({ plan, removed, bytes, savedBytes }: PushResult, session: string) {
  const files = plan.send.filter(({ entry }) => entry.kind !== 'folder')
  for (const { entry, change } of files)
    yield `  ${change === 'added' ? green('+') : yellow('~')} ${printableLine(entry.path)}`
  for (const path of plan.theirs)
    yield dim(`  changed in the session, not here: ${printableLine(path)} (vm0 pull brings it)`)
  for (const { path } of plan.gone)
    yield removed.includes(path)
      ? `  − ${printableLine(path)}`
      : dim(`  gone from here, still in the session: ${printableLine(path)} (--delete removes it)`)
  const saved = savedBytes > 0 ? `, ${size(savedBytes)} were there` : ''
  yield `${green('✓')} ${count(files.length, 'file')} into session ${shortId(session)} (${size(bytes)}${saved})`
}
