import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findSession } from '../find-id.js'
import { jsonLine, printable } from '../printable.js'
import { help, json, session } from './shared-flags.js'

export const exec = buildCommand({
  docs: {
    brief: "Run a command in a session's sandbox",
    fullDescription: help(
      ['vm0 exec -- ls -la', 'vm0 exec -s 9f3c1e70 -- sh -c "npm test"', 'vm0 exec -- cat notes.md >notes.md'],
      "The exit status is the command's. On a terminal escape sequences are taken out of its output; in a pipe it is as it is.",
    ),
  },
  parameters: {
    flags: { session, json },
    aliases: { s: 'session' },
    positional: { kind: 'array', parameter: { brief: 'Command', parse: String, placeholder: 'COMMAND' }, minimum: 1 },
  },
  async func(this: CommandContext, flags: { session?: string; json: boolean }, ...command: string[]) {
    const client = createClient()
    const id = await findSession(client, flags.session)
    const stop = new AbortController()
    process.once('SIGINT', () => stop.abort())
    for await (const part of client.sessions.get(id).execStream(command, { signal: stop.signal })) {
      if (part.type === 'exit') process.exitCode = part.exitCode
      if (flags.json) process.stdout.write(jsonLine(part))
      else if (part.type !== 'exit')
        process[part.type].write(process[part.type].isTTY ? printable(part.text) : part.text)
    }
  },
})
