import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'
import { table } from '../format.js'
import { jsonLine } from '../printable.js'
import { help, json } from './shared-flags.js'

interface Flags {
  json: boolean
}

export const keys = buildRouteMap({
  docs: { brief: 'API keys of this project', fullDescription: help(['vm0 keys', 'vm0 keys create ci']) },
  defaultCommand: 'ls',
  routes: {
    ls: buildCommand({
      docs: { brief: 'List keys', fullDescription: help(['vm0 keys', 'vm0 keys ls --json']) },
      parameters: { flags: { json } },
      async func(this: CommandContext, flags: Flags) {
        const items = await createClient().keys.list()
        if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
        else
          process.stdout.write(
            table([
              ['KEY', 'NAME', 'CREATED', 'REVOKED'],
              ...items.map(({ id, name, createdAt, revokedAt }) => [id, name, createdAt, revokedAt ?? '']),
            ]),
          )
      },
    }),
    create: buildCommand({
      docs: {
        brief: 'Make a key; it is shown once',
        fullDescription: help(['vm0 keys create ci', 'VM0_API_KEY=$(vm0 keys create ci)', 'vm0 keys create ci --json']),
      },
      parameters: {
        flags: { json },
        positional: { kind: 'tuple', parameters: [{ brief: 'Name', parse: String, placeholder: 'NAME' }] },
      },
      async func(this: CommandContext, flags: Flags, name: string) {
        const view = await createClient().keys.create(name)
        process.stdout.write(flags.json ? jsonLine(view) : `${view.key}\n`)
      },
    }),
    revoke: buildCommand({
      docs: { brief: 'End a key at once', fullDescription: help(['vm0 keys revoke 3f9a0c21d4e5']) },
      parameters: {
        flags: { json },
        positional: { kind: 'tuple', parameters: [{ brief: 'Id of the key', parse: String, placeholder: 'ID' }] },
      },
      async func(this: CommandContext, flags: Flags, id: string) {
        await createClient().keys.revoke(id)
        if (flags.json) process.stdout.write(jsonLine({ id, revoked: true }))
      },
    }),
  },
})
