import { createInterface } from 'node:readline/promises'
import { buildCommand, numberParser, type CommandContext } from '@stricli/core'
import type { EventOf, Vm0Error } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import type { Run } from '../../run.js'
import { changedFiles } from '../changed-files.js'
import { exitStatus } from '../exit-status.js'
import { findSession } from '../find-id.js'
import { shortId } from '../format.js'
import { LiveView } from '../live-view.js'
import { jsonLine } from '../printable.js'
import { noteSent } from '../folder/folder-record.js'
import { numberSetting, setting } from '../setting.js'
import { asked } from './answer.js'
import { help } from './shared-flags.js'

const isTraceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
/** More than the server takes as a prompt: reading on would only fill memory before it says so. */
const enoughBytes = 2 * 1024 ** 2

interface Flags {
  framework?: string
  session?: string
  from?: string
  template?: string
  workspace?: string
  model?: string
  memory?: number
  timeout?: number
  onLoss?: 'resume' | 'fail'
  onOutOfMemory?: 'tell-agent' | 'double' | 'stop'
  ask: boolean
  detach: boolean
  json: boolean
}

export const run = buildCommand({
  docs: {
    brief: 'Give an agent a task',
    fullDescription: help(
      [
        'vm0 run "make the tests pass" -w .',
        'vm0 run -s 9f3c1e70 "and now the linter"',
        'vm0 run --from 4be2a911 "try it in another way"',
        'vm0 run --template web "start the server"',
        'vm0 run --detach "a long task"',
        'git log -3 | vm0 run -w . -',
        'vm0 run --json "say hello" | jq .type',
      ],
      [
        'Shows the work while it is done; Ctrl-C cancels the run, a second one leaves it.',
        'Exit status: 0 succeeded, 3 failed, 4 died out of memory, 5 cancelled, 6 died otherwise.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      framework: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'Agent to run (VM0_FRAMEWORK; default: claude-code)',
      },
      session: { kind: 'parsed', parse: String, optional: true, brief: 'Continue this session (VM0_SESSION)' },
      from: { kind: 'parsed', parse: String, optional: true, brief: 'Begin a new session at this checkpoint' },
      template: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'What a new session begins with: NAME or NAME@N (VM0_TEMPLATE; default: standard)',
      },
      workspace: { kind: 'parsed', parse: String, optional: true, brief: 'Local folder to put into /workspace' },
      model: { kind: 'parsed', parse: String, optional: true, brief: 'Model to use (VM0_MODEL)' },
      memory: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: 'Memory in MiB (VM0_MEMORY)',
        placeholder: 'MiB',
      },
      timeout: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: 'Time limit in seconds (VM0_TIMEOUT)',
        placeholder: 'seconds',
      },
      onLoss: {
        kind: 'enum',
        values: ['resume', 'fail'],
        optional: true,
        brief: 'When its agent, sandbox or host is lost (default: resume)',
      },
      onOutOfMemory: {
        kind: 'enum',
        values: ['tell-agent', 'double', 'stop'],
        optional: true,
        brief: 'When the memory is used up: end the command and tell the agent (default), double it, or end the run',
      },
      ask: { kind: 'boolean', default: false, withNegated: false, brief: 'Ask before the agent changes something' },
      detach: { kind: 'boolean', default: false, withNegated: false, brief: 'Print the ids and leave it running' },
      json: { kind: 'boolean', default: false, withNegated: false, brief: 'One event a line' },
    },
    aliases: { f: 'framework', s: 'session', w: 'workspace', d: 'detach' },
    positional: {
      kind: 'array',
      parameter: { brief: 'The task; - reads it from stdin', parse: String, placeholder: 'PROMPT' },
      minimum: 1,
    },
  },
  async func(this: CommandContext, flags: Flags, ...words: string[]) {
    const client = createClient()
    const prompt = words.length === 1 && words[0] === '-' ? await readPrompt() : words.join(' ')
    const wanted = setting(flags.session, 'VM0_SESSION')
    const from = flags.from === undefined ? undefined : (await client.checkpoints.get(flags.from).get()).id
    const isNew = wanted === undefined || (from && flags.session === undefined)
    const session = isNew ? undefined : await findSession(client, wanted)
    const framework = setting(flags.framework, 'VM0_FRAMEWORK') ?? 'claude-code'
    const fresh = session === undefined && from === undefined
    const template = fresh ? setting(flags.template, 'VM0_TEMPLATE') : flags.template
    const model = setting(flags.model, 'VM0_MODEL')
    const memoryMiB = numberSetting(flags.memory, 'VM0_MEMORY')
    const timeout = numberSetting(flags.timeout, 'VM0_TIMEOUT')
    const { onLoss, onOutOfMemory } = flags
    const stop = new AbortController()
    const run = client.run({
      prompt,
      framework,
      signal: stop.signal,
      ...(flags.ask ? { permissions: 'ask' as const } : {}),
      ...(session ? { session } : {}),
      ...(from ? { from } : {}),
      ...(template ? { template } : {}),
      ...(flags.workspace ? { workspace: flags.workspace } : {}),
      ...(model ? { model } : {}),
      ...(memoryMiB ? { resources: { memoryMiB } } : {}),
      ...(onLoss ? { onLoss } : {}),
      ...(onOutOfMemory ? { onOutOfMemory } : {}),
      // Set by programs that trace what they start, by convention.
      ...(isTraceparent.test(process.env.TRACEPARENT ?? '') ? { traceparent: process.env.TRACEPARENT as string } : {}),
      ...(timeout ? { limits: { timeoutMs: Math.round(timeout * 1000) } } : {}),
    })
    // A note for `vm0 pull`; without it pulling asks more often.
    if (flags.workspace) await noteSent(run.session.id, flags.workspace).catch(() => undefined)
    if (flags.detach) {
      await run.get()
      const ids = { runId: run.id, sessionId: run.session.id }
      process.stdout.write(flags.json ? jsonLine(ids) : `run ${ids.runId}\nsession ${ids.sessionId}\n`)
      return
    }
    process.once('SIGINT', () => stop.abort())
    const view = LiveView.on(process.stdout, framework)
    for await (const event of run) {
      if (flags.json) process.stdout.write(jsonLine(event))
      else view.show(event)
      if (event.type === 'permission.requested' && flags.ask && !flags.json) await ask(run, event)
    }
    const ended = await run.get()
    if (!flags.json) view.end(ended, await changedFiles(client, ended))
    process.exitCode = exitStatus(ended)
  },
})

/** On a terminal a key decides; elsewhere `vm0 answer` does. */
async function ask(run: Run, question: EventOf<'permission.requested'>): Promise<void> {
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    process.stdout.write(`? ${asked(question)}   vm0 answer allow|deny --run ${shortId(run.id)}\n`)
    return
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const words = await terminal.question(`? ${asked(question)}\n  allow it? [y/N] `)
    await run.answer(question.requestId, /^y(es)?$/i.test(words.trim()) ? 'allow' : 'deny')
  } catch (thrown) {
    // Somebody else may have answered meanwhile.
    if ((thrown as Vm0Error).code !== 'QUESTION_NOT_OPEN') throw thrown
  } finally {
    terminal.close()
  }
}

async function readPrompt(): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > enoughBytes) break
  }
  return Buffer.concat(chunks).toString('utf8')
}
