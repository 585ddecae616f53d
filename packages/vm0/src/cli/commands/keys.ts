import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import { createClient } from '../../client.js'

export const keys = buildRouteMap({
  docs: { brief: 'API keys of this project' },
  routes: {
    create: buildCommand({
      docs: { brief: 'Make a key; it is shown once' },
      parameters: {
        positional: { kind: 'tuple', parameters: [{ brief: 'Name', parse: String, placeholder: 'NAME' }] },
      },
      async func(this: CommandContext, _flags: {}, given: string) {
        process.stdout.write(`${(await createClient().keys.create(given)).key}\n`)
      },
    }),
    ls: buildCommand({
      docs: { brief: 'List keys' },
      parameters: {},
      async func(this: CommandContext) {
        for (const key of await createClient().keys.list())
          process.stdout.write(
            `${key.id}  ${key.name}  ${key.createdAt}${key.revokedAt ? `  revoked ${key.revokedAt}` : ''}\n`,
          )
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
