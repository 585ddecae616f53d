import { posix } from 'node:path'
import { buildCommand, type CommandContext } from '@stricli/core'
import { Vm0Error, type DiffEntry } from '@vm0/contract/client'
import { createClient, type Vm0 } from '../../client.js'
import type { DiffOptions } from '../../diff.js'
import { findSession } from '../find-id.js'
import { count } from '../format.js'
import { patchHead, quoted, shownPath } from '../diff/git-format.js'
import { statLines, statRow, type StatRow } from '../diff/stat.js'
import { jsonLine, printable } from '../printable.js'
import { bold, dim, green, red } from '../style.js'
import { help, json } from './shared-flags.js'

interface Flags {
  stat: boolean
  nameOnly: boolean
  all: boolean
  json: boolean
}

interface Wanted {
  checkpoint: string
  other: string | undefined
  path: string | undefined
}

export const diff = buildCommand({
  docs: {
    brief: 'Show what changed between two checkpoints',
    customUsage: ['[SESSION] [CHECKPOINT] [OTHER] [--stat|--name-only] [PATH]'],
    fullDescription: help(
      ['vm0 diff', 'vm0 diff 9f3c1e70 --stat', 'vm0 diff 4be2a911 77c01d5e src/', 'vm0 diff | git apply'],
      [
        "Without a checkpoint, what the session's last run changed; with one, what was changed since the one before it; with",
        "two, what leads from the first to the second, which may be another session's. Of /workspace, unless --all is given",
        'or PATH begins with a slash. In a pipe it is a patch, byte for byte; on a terminal what could do harm there is shown.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      stat: { kind: 'boolean', default: false, withNegated: false, brief: 'How many lines of each file' },
      nameOnly: { kind: 'boolean', default: false, withNegated: false, brief: 'Only the names of files' },
      all: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: "Also outside of /workspace: installed software, the agent's own state",
      },
      json,
    },
    positional: {
      kind: 'array',
      parameter: { brief: 'Session, checkpoints, path', parse: String, placeholder: 'SESSION|CHECKPOINT|PATH' },
      maximum: 4,
    },
  },
  async func(this: CommandContext, flags: Flags, ...given: string[]) {
    const client = createClient()
    const { checkpoint, other, path } = await wanted(client, given)
    const options: DiffOptions = { all: flags.all, patch: !flags.nameOnly }
    if (path !== undefined) options.path = posix.resolve('/workspace', path)
    let elsewhere = 0
    const rows: StatRow[] = []
    let untold = 0
    for await (const page of client.checkpoints.get(checkpoint).diff(other, options).pages()) {
      elsewhere = page.elsewhere ?? elsewhere
      for (const entry of page.items) {
        if (flags.json) process.stdout.write(jsonLine(entry))
        else if (isMereFolder(entry)) continue
        else if (flags.nameOnly) process.stdout.write(`${quoted(shownPath(entry.path))}\n`)
        else if (flags.stat) rows.push(statRow(entry))
        else if (!writePatch(entry)) untold += 1
      }
    }
    for (const line of statLines(rows)) process.stdout.write(`${line}\n`)
    if (untold > 0) hint(`${count(untold, 'change')} that no patch can tell: --stat names them`)
    if (elsewhere > 0 && path === undefined)
      hint(`${elsewhere >= 10_000 ? 'more than 10000 files' : count(elsewhere, 'file')} changed elsewhere: --all shows`)
  },
})

const hint = (text: string): void => {
  process.stderr.write(`${dim(text)}\n`)
}

/** That a folder came or went is told by what is in it, as git has it. */
function isMereFolder({ before, after }: DiffEntry): boolean {
  return (before === null || after === null) && (before ?? after)?.type === 'directory'
}

function writePatch(entry: DiffEntry): boolean {
  const head = patchHead(entry)
  if (head.length === 0) return false
  for (const line of head) process.stdout.write(`${bold(line)}\n`)
  if (entry.patch) process.stdout.write(process.stdout.isTTY ? painted(entry.patch) : entry.patch)
  return true
}

function painted(patch: string): string {
  return patch
    .split('\n')
    .map((line) => {
      // A carriage return at its end shows, and ends no line here.
      const shown = printable(line.replaceAll('\r', '␍'))
      if (line.startsWith('+')) return green(shown)
      if (line.startsWith('-')) return red(shown)
      return line.startsWith('@@') ? dim(shown) : shown
    })
    .join('\n')
}

/** Ids in whichever order people think of them; what is no id is a path. */
async function wanted(client: Vm0, given: readonly string[]): Promise<Wanted> {
  const sessions: string[] = []
  const checkpoints: string[] = []
  const paths: string[] = []
  for (const word of given) {
    if (!/^(sha256:)?[0-9a-f]{8,64}$|^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(word)) paths.push(word)
    else if (word.includes('-')) sessions.push(word)
    else {
      const checkpoint = await asCheckpoint(client, word)
      if (checkpoint) checkpoints.push(checkpoint)
      else sessions.push(word)
    }
  }
  if (sessions.length > 1 || checkpoints.length > 2 || paths.length > 1)
    throw new Vm0Error(
      'INVALID_REQUEST',
      `found ${count(sessions.length, 'session')}, ${count(checkpoints.length, 'checkpoint')} and ${count(paths.length, 'path')}; expected at most 1, 2 and 1`,
      { hint: 'Name a path that looks like an id with ./ in front of it.' },
    )
  const [first, second] = checkpoints
  const path = paths[0]
  if (second) return { checkpoint: second, other: first, path }
  const checkpoint = first ?? (await lastOf(client, await findSession(client, sessions[0])))
  return { checkpoint, other: undefined, path }
}

async function asCheckpoint(client: Vm0, word: string): Promise<string | undefined> {
  try {
    return (await client.checkpoints.get(word).get()).id
  } catch (thrown) {
    if ((thrown as Vm0Error).code === 'CHECKPOINT_NOT_FOUND' && !word.startsWith('sha256:')) return undefined
    throw thrown
  }
}

/** What the session's last run left, or, where none left anything, where it stands. */
async function lastOf(client: Vm0, session: string): Promise<string> {
  const { items } = await client.runs.list({ sessionId: session, limit: 50 })
  const checkpoint = items.find((run) => run.checkpoint)?.checkpoint ?? (await client.sessions.get(session).get()).head
  if (checkpoint) return checkpoint
  throw new Vm0Error('CHECKPOINT_NOT_FOUND', `nothing of session ${session} is saved yet`, {
    hint: 'Save it with `vm0 save`, or wait for its run to end.',
  })
}
