import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import { activeStates, outcomes, type RunState, type RunView } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { changedFiles } from '../changed-files.js'
import { findRun, findSession } from '../find-id.js'
import { duration, money, shortId, stageLine, table } from '../format.js'
import { LiveView } from '../live-view.js'
import { jsonLine, printable } from '../printable.js'
import type { Page } from '../../page.js'
import type { Run } from '../../run.js'
import { since } from '../since.js'
import { timelineHead, timelineLine } from '../timeline-view.js'
import { help, json, label, limit, runArgument } from './shared-flags.js'

interface Flags {
  json: boolean
}

interface ListFlags extends Flags {
  limit: number
  session?: string
  outcome?: RunState
  reason?: string
  since?: Date
  label?: string
}

function withoutUndefined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given) as { [K in keyof T]: Exclude<T[K], undefined> }
}

export function runRows(runs: readonly RunView[]): string[][] {
  return [
    ['RUN', 'SESSION', 'STATE', 'REASON', 'TOTAL', 'COST', 'CREATED'],
    ...runs.map((run) => [
      shortId(run.id),
      shortId(run.sessionId),
      run.state,
      run.reason ?? '',
      duration(run.timings.totalMs),
      money(run.costUsd),
      run.createdAt,
    ]),
  ]
}

const list = buildCommand({
  docs: {
    brief: 'List runs, the newest first',
    fullDescription: help([
      'vm0 runs',
      'vm0 runs ls -s 9f3c1e70',
      'vm0 runs ls --outcome died --reason out_of_memory --since 1d',
      'vm0 runs ls --label team=web --limit 1000',
      'vm0 runs --json | jq -r .state',
    ]),
  },
  parameters: {
    flags: {
      json,
      limit,
      session: { kind: 'parsed', parse: String, optional: true, brief: 'Only runs of this session' },
      outcome: {
        kind: 'enum',
        values: [...outcomes, ...activeStates],
        optional: true,
        brief: 'Only those that ended so, or are in this state',
      },
      reason: { kind: 'parsed', parse: String, optional: true, brief: 'Only those that ended for it: out_of_memory' },
      since,
      label,
    },
    aliases: { s: 'session' },
  },
  async func(this: CommandContext, flags: ListFlags) {
    const client = createClient()
    const sessionId = flags.session === undefined ? undefined : await findSession(client, flags.session)
    const { outcome: state, reason, since, label } = flags
    const items: RunView[] = []
    for (let before: string | null | undefined; before !== null && items.length < flags.limit;) {
      const limit = Math.max(1, Math.min(200, Math.floor(flags.limit) - items.length))
      const given = { limit, sessionId, before, state, reason, since, label }
      const page: Page<RunView> = await client.runs.list(withoutUndefined(given))
      items.push(...page.items)
      before = page.next
    }
    if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
    else process.stdout.write(table(runRows(items)))
  },
})

const show = buildCommand({
  docs: {
    brief: 'Show a run: state, result, cost and timings',
    fullDescription: help(['vm0 runs show', 'vm0 runs show 4be2a911 --json']),
  },
  parameters: { flags: { json }, positional: runArgument },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const view = await client.runs.get(await findRun(client, given)).get()
    process.stdout.write(flags.json ? jsonLine(view) : details(view))
  },
})

function details(view: RunView): string {
  const { usage } = view
  const facts = table(
    [
      ['run', view.id],
      ['session', view.sessionId],
      ['state', view.state],
      ['reason', view.reason ?? ''],
      ['agent', `${view.framework} ${view.agentVersion ?? ''}`],
      ['model', view.model ?? ''],
      ['cost', money(view.costUsd)],
      ['tokens', `${usage.inputTokens} in, ${usage.outputTokens} out, ${usage.cacheReadTokens} from cache`],
      ['checkpoint', view.checkpoint ?? ''],
      ['created', view.createdAt],
      ['ended', view.endedAt ?? ''],
      ['timings', stageLine(view.timings)],
      ['pool', view.timings.pool ?? ''],
      ['error', view.error ? `${view.error.code}: ${view.error.message}` : ''],
      ['what to do', view.error?.hint ?? ''],
    ].filter(([, value]) => value !== ''),
  )
  return view.text ? `${facts}\n${printable(view.text).trimEnd()}\n` : facts
}

export const runs = buildRouteMap({
  docs: { brief: 'Runs: one prompt each', fullDescription: help(['vm0 runs', 'vm0 runs show 4be2a911']) },
  defaultCommand: 'ls',
  routes: { ls: list, show },
})

export const logs = buildCommand({
  docs: {
    brief: 'Show what an agent did',
    fullDescription: help(
      ['vm0 logs', 'vm0 logs -f 4be2a911', 'vm0 logs --json | jq -r .type', 'vm0 logs --all 4be2a911'],
      '--all shows everything that was told of the run, by time: agent, sandbox, gateway, runner and server.',
    ),
  },
  parameters: {
    flags: {
      json,
      all: { kind: 'boolean', default: false, withNegated: false, brief: 'What the platform says of it too, by time' },
      follow: { kind: 'boolean', default: false, withNegated: false, brief: 'Go on until the run ends' },
    },
    aliases: { f: 'follow' },
    positional: runArgument,
  },
  async func(this: CommandContext, flags: Flags & { follow: boolean; all: boolean }, given?: string) {
    const client = createClient()
    const run = client.runs.get(await findRun(client, given))
    if (flags.all) return showTimeline(run, flags)
    const { framework } = await run.get()
    const view = LiveView.on(process.stdout, framework)
    for await (const event of flags.follow ? run.events() : run.history()) {
      if (flags.json) process.stdout.write(jsonLine(event))
      else view.show(event)
    }
    const now = await run.get()
    if (!flags.json && now.endedAt) view.end(now, await changedFiles(client, now))
  },
})

async function showTimeline(run: Run, { json: asJson, follow }: Flags & { follow: boolean }): Promise<void> {
  let isFirst = true
  for await (const entry of run.logs({ follow })) {
    if (asJson) process.stdout.write(jsonLine(entry))
    else {
      if (isFirst) process.stdout.write(`${timelineHead(entry)}\n`)
      isFirst = false
      const line = timelineLine(entry)
      if (line !== undefined) process.stdout.write(`${line}\n`)
    }
  }
}

export const cancel = buildCommand({
  docs: {
    brief: 'Cancel a run; what it did so far is saved',
    fullDescription: help(['vm0 cancel', 'vm0 cancel 4be2a911 --json']),
  },
  parameters: { flags: { json }, positional: runArgument },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const run = client.runs.get(await findRun(client, given))
    await run.cancel()
    if (flags.json) process.stdout.write(jsonLine(await run.get()))
  },
})
