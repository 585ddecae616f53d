import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findId } from '../find-id.js'

const session = { kind: 'parsed', parse: String, optional: true, brief: 'Session (default: the latest)' } as const

export const exec = buildCommand({
  docs: {
    brief: "Run a command in a session's sandbox",
    fullDescription: 'Examples:\n  vm0 exec -- ls -la\n  vm0 exec -s 9f3c1e70 -- sh -c "npm test"',
  },
  parameters: {
    flags: { session },
    aliases: { s: 'session' },
    positional: { kind: 'array', parameter: { brief: 'Command', parse: String, placeholder: 'COMMAND' }, minimum: 1 },
  },
  async func(this: CommandContext, flags: { session?: string }, ...command: string[]) {
    const client = createClient()
    const id = await findId(client, 'sessions', flags.session)
    for await (const part of client.sessions.get(id).execStream(command)) {
      if (part.type === 'exit') process.exitCode = part.exitCode
      else process[part.type].write(part.text)
    }
  },
})

export const close = buildCommand({
  docs: { brief: 'Save a session and free its sandbox now' },
  parameters: {
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'Session', parse: String, placeholder: 'SESSION', optional: true }],
    },
  },
  async func(this: CommandContext, _flags: {}, id?: string) {
    const client = createClient()
    await client.sessions.get(await findId(client, 'sessions', id)).close()
  },
})

export const remove = buildCommand({
  docs: { brief: 'Delete a session with all that it holds' },
  parameters: {
    positional: { kind: 'tuple', parameters: [{ brief: 'Session', parse: String, placeholder: 'SESSION' }] },
  },
  async func(this: CommandContext, _flags: {}, id: string) {
    const client = createClient()
    await client.sessions.get(await findId(client, 'sessions', id)).delete()
  },
})

export const cancel = buildCommand({
  docs: { brief: 'Cancel a run (default: the latest)' },
  parameters: {
    positional: { kind: 'tuple', parameters: [{ brief: 'Run', parse: String, placeholder: 'RUN', optional: true }] },
  },
  async func(this: CommandContext, _flags: {}, id?: string) {
    const client = createClient()
    await client.runs.get(await findId(client, 'runs', id)).cancel()
  },
})
