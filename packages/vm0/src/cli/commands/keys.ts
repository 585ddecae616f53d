import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import { Vm0Error, type KeyView, type Scope } from '@vm0/contract/client'
import { createClient } from '../../client.js'

const json = { kind: 'boolean', default: false, withNegated: false, brief: 'One object a line' } as const
const scopes: Scope[] = ['read', 'write', 'admin', 'installation']
const units: Record<string, number> = { s: 1e3, m: 60e3, h: 3_600e3, d: 86_400e3 }

/** `90s`, `15m`, `12h` or `7d` in milliseconds. */
export function durationMs(text: string): number {
  const [, amount, unit] = /^(\d+)([smhd])$/.exec(text) ?? []
  if (!amount || !unit) throw new Vm0Error('INVALID_REQUEST', `${text}: expected a duration like 90s, 15m, 12h or 7d`)
  return Number(amount) * (units[unit] as number)
}

interface CreateFlags {
  scope?: Scope[]
  expires?: number
  project?: string
  json: boolean
}

const create = buildCommand({
  docs: {
    brief: 'Make a key; it is shown once',
    fullDescription:
      'Without --scope it may read and write. Scopes: read, write (and read), admin (keys of its project), installation (projects, and keys in any). Examples:\n  vm0 keys create ci\n  vm0 keys create dashboard --scope read --expires 7d\n  vm0 keys create team --project team-a --scope write --scope admin',
  },
  parameters: {
    flags: {
      scope: {
        kind: 'enum',
        values: scopes,
        variadic: true,
        optional: true,
        brief: 'What it may do; may be given again',
      },
      expires: { kind: 'parsed', parse: durationMs, optional: true, brief: 'Valid for this long', placeholder: '7d' },
      project: { kind: 'parsed', parse: String, optional: true, brief: 'In this project', placeholder: 'PROJECT' },
      json,
    },
    positional: { kind: 'tuple', parameters: [{ brief: 'Name', parse: String, placeholder: 'NAME' }] },
  },
  async func(this: CommandContext, flags: CreateFlags, name: string) {
    const made = await createClient().keys.create(name, {
      ...(flags.scope ? { scopes: flags.scope } : {}),
      ...(flags.expires === undefined ? {} : { expiresInMs: flags.expires }),
      ...(flags.project === undefined ? {} : { projectId: flags.project }),
    })
    process.stdout.write(flags.json ? `${JSON.stringify(made)}\n` : `${made.key}\n`)
  },
})

function line(key: KeyView): string {
  const end = key.revokedAt ? `revoked ${key.revokedAt}` : key.expiresAt ? `expires ${key.expiresAt}` : ''
  return [key.id, key.name, key.scopes.join(','), key.createdAt, end].join('  ').trimEnd()
}

export const keys = buildRouteMap({
  docs: { brief: 'API keys of this project' },
  routes: {
    create,
    ls: buildCommand({
      docs: { brief: 'List keys, the newest first' },
      parameters: { flags: { json } },
      async func(this: CommandContext, flags: { json: boolean }) {
        for (const key of await createClient().keys.list())
          process.stdout.write(`${flags.json ? JSON.stringify(key) : line(key)}\n`)
      },
    }),
    revoke: buildCommand({
      docs: { brief: 'Revoke a key' },
      parameters: {
        positional: { kind: 'tuple', parameters: [{ brief: 'Id of the key', parse: String, placeholder: 'ID' }] },
      },
      async func(this: CommandContext, _flags: {}, id: string) {
        await createClient().keys.revoke(id)
      },
    }),
  },
})
