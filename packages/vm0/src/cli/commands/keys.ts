import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import { Vm0Error, type Scope } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { table } from '../format.js'
import { jsonLine } from '../printable.js'
import { help, json } from './shared-flags.js'

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

export const keys = buildRouteMap({
  docs: { brief: 'API keys of this project', fullDescription: help(['vm0 keys', 'vm0 keys create ci']) },
  defaultCommand: 'ls',
  routes: {
    ls: buildCommand({
      docs: { brief: 'List keys, the newest first', fullDescription: help(['vm0 keys', 'vm0 keys ls --json']) },
      parameters: { flags: { json } },
      async func(this: CommandContext, flags: { json: boolean }) {
        const items = await createClient().keys.list()
        if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
        else
          process.stdout.write(
            table([
              ['KEY', 'NAME', 'SCOPES', 'CREATED', 'ENDS'],
              ...items.map(({ id, name, scopes: may, createdAt, expiresAt, revokedAt }) => [
                id,
                name,
                may.join(','),
                createdAt,
                revokedAt ? `revoked ${revokedAt}` : (expiresAt ?? ''),
              ]),
            ]),
          )
      },
    }),
    create: buildCommand({
      docs: {
        brief: 'Make a key; it is shown once',
        fullDescription: help(
          [
            'vm0 keys create ci',
            'VM0_API_KEY=$(vm0 keys create ci)',
            'vm0 keys create dashboard --scope read --expires 7d',
            'vm0 keys create team --project team-a --scope write --scope admin',
          ],
          'Without --scope it may read and write. Scopes: read, write (and read), admin (keys of its project), installation (projects, and keys in any).',
        ),
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
          expires: {
            kind: 'parsed',
            parse: durationMs,
            optional: true,
            brief: 'Valid for this long',
            placeholder: '7d',
          },
          project: { kind: 'parsed', parse: String, optional: true, brief: 'In this project', placeholder: 'PROJECT' },
          json,
        },
        positional: { kind: 'tuple', parameters: [{ brief: 'Name', parse: String, placeholder: 'NAME' }] },
      },
      async func(this: CommandContext, flags: CreateFlags, name: string) {
        const view = await createClient().keys.create(name, {
          ...(flags.scope ? { scopes: flags.scope } : {}),
          ...(flags.expires === undefined ? {} : { expiresInMs: flags.expires }),
          ...(flags.project === undefined ? {} : { projectId: flags.project }),
        })
        process.stdout.write(flags.json ? jsonLine(view) : `${view.key}\n`)
      },
    }),
    revoke: buildCommand({
      docs: { brief: 'End a key at once', fullDescription: help(['vm0 keys revoke 3f9a0c21d4e5']) },
      parameters: {
        flags: { json },
        positional: { kind: 'tuple', parameters: [{ brief: 'Id of the key', parse: String, placeholder: 'ID' }] },
      },
      async func(this: CommandContext, flags: { json: boolean }, id: string) {
        await createClient().keys.revoke(id)
        if (flags.json) process.stdout.write(jsonLine({ id, revoked: true }))
      },
    }),
  },
})
