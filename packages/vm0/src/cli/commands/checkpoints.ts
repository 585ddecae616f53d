import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { checkpointGraph } from '../checkpoint-graph.js'
import { findSession } from '../find-id.js'
import { shortId } from '../format.js'
import { jsonLine } from '../printable.js'
import { help, json, limit, session, sessionArgument } from './shared-flags.js'

interface Flags {
  json: boolean
}

const checkpointArgument = {
  kind: 'tuple',
  parameters: [{ brief: 'Checkpoint: its first eight characters', parse: String, placeholder: 'CHECKPOINT' }],
} as const

export const log = buildCommand({
  docs: {
    brief: "Draw the tree of a session's checkpoints",
    fullDescription: help(
      ['vm0 log', 'vm0 log 9f3c1e70 --limit 100', 'vm0 log --json | jq -r .id'],
      'Each line is a state that `vm0 fork` and `vm0 rollback` take, with the run and the tool call that made it.',
    ),
  },
  parameters: { flags: { json, limit }, positional: sessionArgument },
  async func(this: CommandContext, flags: Flags & { limit: number }, given?: string) {
    const client = createClient()
    const { items } = await client.sessions
      .get(await findSession(client, given))
      .checkpoints.views({ limit: flags.limit })
    if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
    else process.stdout.write(items.length > 0 ? checkpointGraph(items) : 'nothing is saved yet\n')
  },
})

export const fork = buildCommand({
  docs: {
    brief: 'Begin a new session from a checkpoint',
    fullDescription: help(
      ['vm0 fork 4be2a911', 'vm0 run -s "$(vm0 fork 4be2a911 --json | jq -r .sessionId)" "try it in another way"'],
      'It has the conversation, files and software of that moment, costs nothing, and changes nothing in the first session.',
    ),
  },
  parameters: { flags: { json }, positional: checkpointArgument },
  async func(this: CommandContext, flags: Flags, given: string) {
    const client = createClient()
    const { id: checkpoint } = await client.checkpoints.get(given).get()
    const { id } = await client.checkpoints.get(checkpoint).fork()
    process.stdout.write(
      flags.json
        ? jsonLine({ sessionId: id, checkpoint })
        : `session ${id}\nvm0 run -s ${shortId(id)} "…"   ·   vm0 log ${shortId(id)}\n`,
    )
  },
})

export const rollback = buildCommand({
  docs: {
    brief: 'Take a session back to one of its checkpoints',
    fullDescription: help(
      ['vm0 rollback 4be2a911', 'vm0 rollback 4be2a911 --json'],
      'What the session has now is saved first: `vm0 log` shows it, and another rollback goes there.',
    ),
  },
  parameters: { flags: { json, session }, aliases: { s: 'session' }, positional: checkpointArgument },
  async func(this: CommandContext, flags: Flags & { session?: string }, given: string) {
    const client = createClient()
    const view = await client.checkpoints.get(given).get()
    const id = flags.session === undefined ? view.sessionId : await findSession(client, flags.session)
    await client.sessions.get(id).rollback(view.id)
    process.stdout.write(
      flags.json
        ? jsonLine({ sessionId: id, checkpoint: view.id })
        : `session ${shortId(id)} stands at ${shortId(view.id)}\nvm0 run -s ${shortId(id)} "…"   ·   vm0 log ${shortId(id)}\n`,
    )
  },
})

export const save = buildCommand({
  docs: {
    brief: 'Save a session as it is now, under a name',
    fullDescription: help(['vm0 save --name "before the migration"', 'vm0 save 9f3c1e70 --json']),
  },
  parameters: {
    flags: { json, name: { kind: 'parsed', parse: String, optional: true, brief: 'What it is called in `vm0 log`' } },
    positional: sessionArgument,
  },
  async func(this: CommandContext, flags: Flags & { name?: string }, given?: string) {
    const client = createClient()
    const session = client.sessions.get(await findSession(client, given))
    const { name } = flags
    const view = await (await session.checkpoints.create(name === undefined ? {} : { name })).get()
    process.stdout.write(flags.json ? jsonLine(view) : `checkpoint ${shortId(view.id)}\n`)
  },
})
