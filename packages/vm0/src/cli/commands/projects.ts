import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import { Vm0Error, type Capture, type ProjectView, type StorageView } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { byteCount, count, shortId, table } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { dim } from '../style.js'
import { help, json } from './shared-flags.js'

const units: Record<string, number> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 }

/** Bytes of `500MiB` or `20GiB`; without bound of `none`. */
export function quotaBytes(text: string): number {
  if (text === 'none') return Infinity
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|TiB)$/.exec(text) ?? []
  if (!amount || !unit) throw new Vm0Error('INVALID_REQUEST', `${text}: expected a size like 500MiB or 20GiB, or none`)
  return Math.round(Number(amount) * (units[unit] as number))
}

const boundOf = (bytes: number): number | null => (bytes === Infinity ? null : bytes)
const quotaOf = (bytes: number | null): string => (bytes === null ? 'none' : byteCount(bytes))

const quota = {
  kind: 'parsed',
  parse: quotaBytes,
  optional: true,
  brief: 'What its checkpoints may hold; none: without bound',
  placeholder: '20GiB',
} as const

const project = {
  kind: 'tuple',
  parameters: [{ brief: 'Id of the project', parse: String, placeholder: 'PROJECT' }],
} as const

interface Flags {
  quota?: number
  json: boolean
}

interface SetFlags extends Flags {
  capture?: Capture
}

function show(view: ProjectView, asJson: boolean): void {
  process.stdout.write(asJson ? jsonLine(view) : rows([view]))
}

const rows = (items: readonly ProjectView[]): string =>
  table([
    ['PROJECT', 'NAME', 'STORED', 'QUOTA', 'CAPTURE', 'CREATED'],
    ...items.map(({ id, name, storedBytes, quotaBytes: bound, capture, createdAt }) => [
      id,
      name,
      byteCount(storedBytes),
      quotaOf(bound),
      capture,
      createdAt,
    ]),
  ])

export const projects = buildRouteMap({
  docs: {
    brief: 'Projects, what they store and may store',
    fullDescription: help(['vm0 projects', 'vm0 projects show', 'vm0 projects set team-a --quota 20GiB']),
  },
  defaultCommand: 'ls',
  routes: {
    ls: buildCommand({
      docs: {
        brief: 'List projects, the newest first',
        fullDescription: help(['vm0 projects', 'vm0 projects ls --json'], 'Needs a key with the scope `installation`.'),
      },
      parameters: { flags: { json } },
      async func(this: CommandContext, flags: { json: boolean }) {
        const { items } = await createClient().projects.list({ limit: 200 })
        if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
        else process.stdout.write(rows(items))
      },
    }),
    show: buildCommand({
      docs: {
        brief: 'Show what the project of the key stores, and which sessions hold most',
        fullDescription: help(['vm0 projects show', 'vm0 projects show --json']),
      },
      parameters: { flags: { json } },
      async func(this: CommandContext, flags: { json: boolean }) {
        const view = await createClient().projects.storage()
        process.stdout.write(flags.json ? jsonLine(view) : stored(view))
      },
    }),
    create: buildCommand({
      docs: {
        brief: 'Make a project',
        fullDescription: help(
          ['vm0 projects create team-a', 'vm0 projects create team-a --quota 20GiB'],
          'Needs a key with the scope `installation`. `vm0 keys create NAME --project team-a` gives a key of it.',
        ),
      },
      parameters: { flags: { quota, json }, positional: project },
      async func(this: CommandContext, flags: Flags, id: string) {
        const bound = flags.quota === undefined ? {} : { quotaBytes: boundOf(flags.quota) }
        show(await createClient().projects.create({ id, ...bound }), flags.json)
      },
    }),
    set: buildCommand({
      docs: {
        brief: 'Change what a project may store, and what of it goes out with telemetry',
        fullDescription: help(
          ['vm0 projects set team-a --quota 20GiB', 'vm0 projects set team-a --quota none --capture full'],
          [
            'Needs a key with the scope `installation`. Runs at work are not touched by a quota, and saved in any case.',
            'Telemetry has nothing of the project (none), names, sizes, times and outcomes (metadata, the default), or prompts,',
            'commands and outputs too, without the secrets in them (full).',
          ].join('\n'),
        ),
      },
      parameters: {
        flags: {
          quota,
          capture: {
            kind: 'enum',
            values: ['none', 'metadata', 'full'],
            optional: true,
            brief: 'What goes out with telemetry',
          },
          json,
        },
        positional: project,
      },
      async func(this: CommandContext, { quota: bound, capture, json: asJson }: SetFlags, id: string) {
        const change = {
          ...(bound === undefined ? {} : { quotaBytes: boundOf(bound) }),
          ...(capture === undefined ? {} : { capture }),
        }
        show(await createClient().projects.update(id, change), asJson)
      },
    }),
  },
})

function stored({ project: id, storedBytes, quotaBytes: bound, sessions }: StorageView): string {
  const share = bound ? ` (${Math.round((storedBytes / bound) * 100)}%)` : ''
  const head = `project ${printableLine(id)}: ${byteCount(storedBytes)} in checkpoints; quota ${quotaOf(bound)}${share}\n`
  if (sessions.length === 0) return head
  const most = sessions.map((each) => [shortId(each.id), byteCount(each.storedBytes), String(each.checkpoints)])
  return `${head}${table([['SESSION', 'STORED', 'CHECKPOINTS'], ...most])}${dim(`  the ${count(sessions.length, 'session')} that hold most; \`vm0 rm SESSION\` removes one`)}\n`
}
