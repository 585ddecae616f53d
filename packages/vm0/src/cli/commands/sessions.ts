import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import type { RunView, SessionView } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { findSession } from '../find-id.js'
import { count, shortId, table, templateName } from '../format.js'
import { jsonLine } from '../printable.js'
import { help, json, limit, sessionArgument } from './shared-flags.js'
import { runRows } from './runs.js'
import { upgrade } from './upgrade.js'

interface Flags {
  json: boolean
}

const shownRuns = 10

const list = buildCommand({
  docs: {
    brief: 'List sessions, the newest first',
    fullDescription: help(['vm0 sessions', 'vm0 sessions ls --limit 100', 'vm0 sessions --json | jq -r .id']),
  },
  parameters: { flags: { json, limit } },
  async func(this: CommandContext, flags: Flags & { limit: number }) {
    const { items } = await createClient().sessions.list({ limit: flags.limit })
    if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
    else
      process.stdout.write(
        table([
          ['SESSION', 'STATE', 'RUNS', 'HEAD', 'UPDATED'],
          ...items.map(({ id, state, runs, head, updatedAt }) => [
            shortId(id),
            state,
            String(runs),
            shortId(head ?? '-'),
            updatedAt,
          ]),
        ]),
      )
  },
})

const show = buildCommand({
  docs: {
    brief: 'Show a session and its latest runs',
    fullDescription: help(['vm0 sessions show', 'vm0 sessions show 9f3c1e70 --json']),
  },
  parameters: { flags: { json }, positional: sessionArgument },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const id = await findSession(client, given)
    const view = await client.sessions.get(id).get()
    if (flags.json) process.stdout.write(jsonLine(view))
    else process.stdout.write(details(view, (await client.runs.list({ sessionId: id, limit: shownRuns })).items))
  },
})

function details(view: SessionView, runs: RunView[]): string {
  const labels = Object.entries(view.labels).map(([name, value]) => `${name}=${value}`)
  const resources = Object.entries(view.resources).map(([name, value]) => `${name} ${value}`)
  const facts = table(
    [
      ['session', view.id],
      ['state', view.state],
      ['template', templateName(view.template)],
      ['head', view.head ?? '-'],
      ['labels', labels.join(' ')],
      ['resources', resources.join(', ')],
      ['created', view.createdAt],
      ['updated', view.updatedAt],
      ['runs', count(view.runs, 'run')],
      ...(view.lostProcesses?.processes ?? []).map(({ pid, command }) => ['lost process', `${command} (pid ${pid})`]),
    ].filter(([, value]) => value !== ''),
  )
  return runs.length > 0 ? `${facts}\n${table(runRows(runs))}` : facts
}

export const remove = buildCommand({
  docs: {
    brief: 'Delete a session with all that it holds',
    fullDescription: help(['vm0 sessions rm 9f3c1e70', 'vm0 rm 9f3c1e70 --json']),
  },
  parameters: {
    flags: { json },
    positional: { kind: 'tuple', parameters: [{ brief: 'Session', parse: String, placeholder: 'SESSION' }] },
  },
  async func(this: CommandContext, flags: Flags, given: string) {
    const client = createClient()
    const id = await findSession(client, given)
    await client.sessions.get(id).delete()
    if (flags.json) process.stdout.write(jsonLine({ id, deleted: true }))
  },
})

export const sessions = buildRouteMap({
  docs: {
    brief: 'Sessions: conversation, files and installed software that stay',
    fullDescription: help([
      'vm0 sessions',
      'vm0 sessions show 9f3c1e70',
      'vm0 sessions upgrade 9f3c1e70 --template web@3',
      'vm0 sessions rm 9f3c1e70',
    ]),
  },
  defaultCommand: 'ls',
  routes: { ls: list, show, upgrade, rm: remove },
})

export const close = buildCommand({
  docs: {
    brief: 'Save a session and free its sandbox now',
    fullDescription: help(['vm0 close', 'vm0 close 9f3c1e70 --json']),
  },
  parameters: { flags: { json }, positional: sessionArgument },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const session = client.sessions.get(await findSession(client, given))
    await session.close()
    if (flags.json) process.stdout.write(jsonLine(await session.get()))
  },
})
