import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { changedFiles } from '../changed-files.js'
import { exitStatus } from '../exit-status.js'
import { findRun } from '../find-id.js'
import { count, shortId } from '../format.js'
import { LiveView } from '../live-view.js'
import { jsonLine } from '../printable.js'
import { dim } from '../style.js'
import { help, runArgument } from './shared-flags.js'

interface Flags {
  from: string
  prompt?: string
  model?: string
  detach: boolean
  json: boolean
}

export const replay = buildCommand({
  docs: {
    brief: "Run again from one of a run's tool calls on, in a fork",
    fullDescription: help(
      [
        'vm0 replay 4be2a911 --from 7 --prompt "use pnpm, not npm"',
        'vm0 replay --from toolu_01A --model claude-haiku-4-5',
        'vm0 compare 4be2a911 9f3c1e70',
      ],
      [
        'Begins with files and conversation as they were saved last before that call; settings are those of the run, but for what',
        'is given. The label replay-of has the run. Without a prompt the agent is told to go on.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      from: {
        kind: 'parsed',
        parse: String,
        placeholder: 'CALL',
        brief: 'A tool call: its id, the end of it, or its number',
      },
      prompt: { kind: 'parsed', parse: String, optional: true, brief: 'What the agent is told' },
      model: { kind: 'parsed', parse: String, optional: true, brief: 'Another model' },
      detach: { kind: 'boolean', default: false, withNegated: false, brief: 'Print the ids and leave it running' },
      json: { kind: 'boolean', default: false, withNegated: false, brief: 'One event a line' },
    },
    aliases: { p: 'prompt', d: 'detach' },
    positional: runArgument,
  },
  async func(this: CommandContext, { from, prompt, model, detach, json }: Flags, given?: string) {
    const client = createClient()
    const of = await findRun(client, given)
    const { run, checkpoint, callsBetween } = await client.runs.get(of).replay({
      from,
      ...(prompt === undefined ? {} : { prompt }),
      ...(model === undefined ? {} : { model }),
    })
    const ids = { runId: run.id, sessionId: run.session.id, checkpoint, callsBetween }
    if (detach) {
      process.stdout.write(json ? jsonLine(ids) : `run ${ids.runId}\nsession ${ids.sessionId}\n`)
      return
    }
    const begin = checkpoint === null ? 'the beginning' : `checkpoint ${shortId(checkpoint)}`
    const between = callsBetween === 0 ? '' : `, ${count(callsBetween, 'call')} before it`
    if (!json) process.stdout.write(dim(`replays ${shortId(of)} from ${begin}${between}\n`))
    const { framework } = await run.get()
    const view = LiveView.on(process.stdout, framework)
    for await (const event of run) {
      if (json) process.stdout.write(jsonLine(event))
      else view.show(event)
    }
    const ended = await run.get()
    if (!json) {
      view.end(ended, await changedFiles(client, ended))
      process.stdout.write(dim(`  vm0 compare ${shortId(of)} ${shortId(run.id)}\n`))
    }
    process.exitCode = exitStatus(ended)
  },
})
