import { buildCommand, buildRouteMap } from '@stricli/core'
import { createClient } from '../../client.js'

const name = (brief: string) => ({ kind: 'tuple', parameters: [{ brief, parse: String, placeholder: brief.toUpperCase() }] }) as const

export const keys = buildRouteMap({
  docs: { brief: 'API keys of this project' },
  routes: {
    create: buildCommand({
      docs: { brief: 'Make a key; it is shown once' },
      parameters: { positional: name('name') },
      async func(_flags: object, given: string) { process.stdout.write(`${(await createClient().keys.create(given)).key}\n`) },
    }),
    ls: buildCommand({
      docs: { brief: 'List keys' },
      parameters: {},
      async func() {
        for (const key of await createClient().keys.list()) process.stdout.write(`${key.id}  ${key.name}  ${key.createdAt}${key.revokedAt ? `  revoked ${key.revokedAt}` : ''}\n`)
      },
    }),
    revoke: buildCommand({
      docs: { brief: 'Revoke a key' },
      parameters: { positional: name('id') },
      async func(_flags: object, id: string) { await createClient().keys.revoke(id) },
    }),
  },
})
