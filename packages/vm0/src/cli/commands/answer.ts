import { buildCommand, type CommandContext } from '@stricli/core'
import { Vm0Error, type EventOf } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { findRun } from '../find-id.js'
import { jsonLine, printableLine } from '../printable.js'
import type { Run } from '../../run.js'
import { help, json } from './shared-flags.js'

interface Flags {
  json: boolean
  run?: string
  message?: string
}

type Question = EventOf<'permission.requested'>

export const answer = buildCommand({
  docs: {
    brief: 'Answer an agent that waits for a person',
    fullDescription: help(
      [
        'vm0 answer',
        'vm0 answer allow',
        'vm0 answer deny --message "use the test database"',
        'vm0 answer allow --run 4be2a911',
      ],
      'Without a decision it shows what the agent asks. Runs ask that were started with `vm0 run --ask`.',
    ),
  },
  parameters: {
    flags: {
      json,
      run: { kind: 'parsed', parse: String, optional: true, brief: 'Run (default: the latest)' },
      message: { kind: 'parsed', parse: String, optional: true, brief: 'With deny: what the agent is told' },
    },
    aliases: { m: 'message' },
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'allow or deny', parse: decisionOf, placeholder: 'DECISION', optional: true }],
    },
  },
  async func(this: CommandContext, flags: Flags, decision?: 'allow' | 'deny') {
    const client = createClient()
    const run = client.runs.get(await findRun(client, flags.run))
    const [question] = await openQuestions(run)
    if (!question) throw new Vm0Error('QUESTION_NOT_OPEN', `run ${run.id} waits for no answer`)
    if (decision)
      await run.answer(question.requestId, { decision, ...(flags.message ? { message: flags.message } : {}) })
    if (flags.json) process.stdout.write(jsonLine({ ...question, ...(decision ? { decision } : {}) }))
    else process.stdout.write(`${asked(question)}${decision ? `: ${decision}` : ''}\n`)
  },
})

function decisionOf(text: string): 'allow' | 'deny' {
  if (text === 'allow' || text === 'deny') return text
  throw new SyntaxError(`expected allow or deny, not ${text}`)
}

async function openQuestions(run: Run): Promise<Question[]> {
  const open = new Map<string, Question>()
  for await (const event of run.history()) {
    if (event.type === 'permission.requested') open.set(event.requestId, event)
    if (event.type === 'permission.resolved' && event.requestId) open.delete(event.requestId)
  }
  return [...open.values()]
}

/** What the agent wants to do, on one line. */
export function asked({ name, input }: Question): string {
  const { command, file_path: path } = (input ?? {}) as { command?: unknown; file_path?: unknown }
  return printableLine(`${name} ${String(command ?? path ?? JSON.stringify(input))}`, 300)
}
