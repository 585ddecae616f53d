import { setTimeout as wait } from 'node:timers/promises'
import { buildCommand, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { jsonLine } from '../printable.js'
import { topLines } from '../top-view.js'
import { help, json } from './shared-flags.js'

interface Flags {
  json: boolean
  once: boolean
}

const refreshMs = 1_000
const home = '\u001B[H'
const clearBelow = '\u001B[J'
const clearLine = '\u001B[K'

export const top = buildCommand({
  docs: {
    brief: 'Show the sandboxes that are in use, live: what each does, its memory and CPU',
    fullDescription: help(
      ['vm0 top', 'vm0 top --once', 'vm0 top --json | jq -r \'select(.state == "working") .runId\''],
      'Those at work first, the largest first. On a terminal it goes on until Ctrl-C; elsewhere, and with --json, it tells once.',
    ),
  },
  parameters: {
    flags: { json, once: { kind: 'boolean', default: false, withNegated: false, brief: 'Tell once and end' } },
  },
  async func(this: CommandContext, flags: Flags) {
    const client = createClient()
    if (flags.json) {
      for (const sandbox of await client.sandboxes.list()) process.stdout.write(jsonLine(sandbox))
      return
    }
    const lines = async (): Promise<string[]> => {
      const [sandboxes, [host]] = await Promise.all([client.sandboxes.list(), client.runners.list()])
      return topLines(sandboxes, host, process.stdout.columns ?? 100)
    }
    if (flags.once || !process.stdout.isTTY) {
      process.stdout.write(`${(await lines()).join('\n')}\n`)
      return
    }
    process.stdout.write('\u001B[2J')
    for (;;) {
      const shown = (await lines()).slice(0, Math.max(2, (process.stdout.rows ?? 24) - 1))
      process.stdout.write(`${home}${shown.map((line) => `${line}${clearLine}\n`).join('')}${clearBelow}`)
      await wait(refreshMs)
    }
  },
})
