import { buildCommand, numberParser, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findId } from '../find-id.js'
import { exitStatus, LiveView } from '../render.js'

interface Flags {
  framework: string
  session?: string
  workspace?: string
  model?: string
  memory?: number
  timeout?: number
  detach: boolean
  json: boolean
}

export const run = buildCommand({
  docs: {
    brief: 'Give an agent a task',
    fullDescription:
      'Examples:\n  vm0 run "make the tests pass" -w .\n  vm0 run -s 9f3c1e70 "and now the linter"\n  vm0 run --json "say hello" | jq .type',
  },
  parameters: {
    flags: {
      framework: { kind: 'parsed', parse: String, default: 'claude-code', brief: 'Agent to run' },
      session: { kind: 'parsed', parse: String, optional: true, brief: 'Continue this session' },
      workspace: { kind: 'parsed', parse: String, optional: true, brief: 'Local folder to put into /workspace' },
      model: { kind: 'parsed', parse: String, optional: true, brief: 'Model to use' },
      memory: { kind: 'parsed', parse: numberParser, optional: true, brief: 'Memory in MiB', placeholder: 'MiB' },
      timeout: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: 'Time limit in seconds',
        placeholder: 'seconds',
      },
      detach: { kind: 'boolean', default: false, withNegated: false, brief: 'Print the ids and leave it running' },
      json: { kind: 'boolean', default: false, withNegated: false, brief: 'One event a line' },
    },
    aliases: { f: 'framework', s: 'session', w: 'workspace', d: 'detach' },
    positional: { kind: 'array', parameter: { brief: 'The task', parse: String, placeholder: 'PROMPT' }, minimum: 1 },
  },
  async func(this: CommandContext, flags: Flags, ...words: string[]) {
    const client = createClient()
    const session = flags.session === undefined ? undefined : await findId(client, 'sessions', flags.session)
    const stop = new AbortController()
    const run = client.run({
      prompt: words.join(' '),
      framework: flags.framework,
      signal: stop.signal,
      ...(session ? { session } : {}),
      ...(flags.workspace ? { workspace: flags.workspace } : {}),
      ...(flags.model ? { model: flags.model } : {}),
      ...(flags.memory ? { resources: { memoryMiB: flags.memory } } : {}),
      ...(flags.timeout ? { limits: { timeoutMs: flags.timeout * 1000 } } : {}),
    })
    if (flags.detach) {
      await run.get()
      process.stdout.write(
        flags.json
          ? `${JSON.stringify({ runId: run.id, sessionId: run.session.id })}\n`
          : `run ${run.id}\nsession ${run.session.id}\n`,
      )
      return
    }
    // The first Ctrl-C cancels the run, a second one ends this command.
    process.once('SIGINT', () => stop.abort())
    const view = new LiveView((text) => process.stdout.write(text))
    for await (const event of run) {
      if (flags.json) process.stdout.write(`${JSON.stringify(event)}\n`)
      else view.show(event)
    }
    const ended = await run.get()
    if (!flags.json) view.end(ended)
    process.exitCode = exitStatus(ended)
  },
})
