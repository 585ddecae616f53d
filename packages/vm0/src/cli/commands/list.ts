import { buildCommand, numberParser, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { findId } from '../find-id.js'
import { duration, LiveView, shortId } from '../render.js'

const json = { kind: 'boolean', default: false, withNegated: false, brief: 'One object a line' } as const
const limit = { kind: 'parsed', parse: numberParser, default: '20', brief: 'How many' } as const

function table(rows: string[][]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd()}\n`,
    )
}

const each = (items: readonly object[]): void => {
  for (const item of items) process.stdout.write(`${JSON.stringify(item)}\n`)
}

export const sessions = buildCommand({
  docs: { brief: 'List sessions, the newest first' },
  parameters: { flags: { json, limit } },
  async func(this: CommandContext, flags: { json: boolean; limit: number }) {
    const { items } = await createClient().sessions.list({ limit: flags.limit })
    if (flags.json) return each(items)
    table([
      ['SESSION', 'STATE', 'RUNS', 'HEAD', 'UPDATED'],
      ...items.map((item) => [
        shortId(item.id),
        item.state,
        String(item.runs),
        shortId(item.head ?? '-'),
        item.updatedAt,
      ]),
    ])
  },
})

export const runs = buildCommand({
  docs: { brief: 'List runs, the newest first' },
  parameters: { flags: { json, limit } },
  async func(this: CommandContext, flags: { json: boolean; limit: number }) {
    const { items } = await createClient().runs.list({ limit: flags.limit })
    if (flags.json) return each(items)
    table([
      ['RUN', 'SESSION', 'STATE', 'REASON', 'TOTAL', 'COST', 'CREATED'],
      ...items.map((item) => [
        shortId(item.id),
        shortId(item.sessionId),
        item.state,
        item.reason ?? '',
        duration(item.timings.totalMs),
        `$${item.costUsd.toFixed(2)}`,
        item.createdAt,
      ]),
    ])
  },
})

export const logs = buildCommand({
  docs: {
    brief: 'Show what an agent did',
    fullDescription: 'Without an id: the latest run. Examples:\n  vm0 logs\n  vm0 logs -f 4be2a911',
  },
  parameters: {
    flags: { json, follow: { kind: 'boolean', default: false, withNegated: false, brief: 'Go on until the run ends' } },
    aliases: { f: 'follow' },
    positional: { kind: 'tuple', parameters: [{ brief: 'Run', parse: String, placeholder: 'RUN', optional: true }] },
  },
  async func(this: CommandContext, flags: { json: boolean; follow: boolean }, id?: string) {
    const client = createClient()
    const run = client.runs.get(await findId(client, 'runs', id))
    const view = new LiveView((text) => process.stdout.write(text))
    for await (const event of flags.follow ? run.events() : run.history()) {
      if (flags.json) process.stdout.write(`${JSON.stringify(event)}\n`)
      else view.show(event)
    }
    const now = await run.get()
    if (!flags.json && now.endedAt) view.end(now)
  },
})

export const frameworks = buildCommand({
  docs: { brief: 'List the agents that the server can run' },
  parameters: { flags: { json } },
  async func(this: CommandContext, flags: { json: boolean }) {
    const items = await createClient().frameworks.list()
    if (flags.json) return each(items)
    table([
      ['FRAMEWORK', 'DEFAULT', 'INSTALLED'],
      ...items.map((item) => [item.name, item.default ?? '-', item.versions.join(' ')]),
    ])
  },
})
