import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import { Vm0Error } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { table } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { help, json } from './shared-flags.js'

interface Flags {
  json: boolean
}

const list = buildCommand({
  docs: {
    brief: 'List the agents that the server can run',
    fullDescription: help(['vm0 frameworks', 'vm0 frameworks ls --json']),
  },
  parameters: { flags: { json } },
  async func(this: CommandContext, flags: Flags) {
    const items = await createClient().frameworks.list()
    if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
    else
      process.stdout.write(
        table([
          ['FRAMEWORK', 'DEFAULT', 'INSTALLED'],
          ...items.map((item) => [item.name, item.default ?? '-', item.versions.join(' ')]),
        ]),
      )
  },
})

const install = buildCommand({
  docs: {
    brief: 'Install an exact version of an agent on the server',
    fullDescription: help(
      ['vm0 frameworks install claude-code@2.1.330'],
      "From the npm registry, its integrity checked. New sandboxes take the newest version; a session's state holds none.",
    ),
  },
  parameters: {
    flags: { json },
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'Agent and exact version', parse: String, placeholder: 'NAME@VERSION' }],
    },
  },
  async func(this: CommandContext, flags: Flags, wanted: string) {
    const [, name, version] = /^([^@]+)@([^@]+)$/.exec(wanted) ?? []
    if (!name || !version)
      throw new Vm0Error('INVALID_REQUEST', `${wanted}: expected NAME@VERSION, such as claude-code@2.1.330`, {
        hint: 'Versions are exact; `vm0 frameworks` lists the names.',
      })
    const onProgress = (message: string): void => {
      process.stdout.write(flags.json ? jsonLine({ type: 'progress', message }) : `${printableLine(message)}\n`)
    }
    const framework = await createClient().frameworks.install(name, version, { onProgress })
    process.stdout.write(flags.json ? jsonLine({ type: 'installed', framework }) : `${name} ${version} is installed\n`)
  },
})

export const frameworks = buildRouteMap({
  docs: {
    brief: 'The agents that the server can run',
    fullDescription: help(['vm0 frameworks', 'vm0 frameworks install claude-code@2.1.330']),
  },
  defaultCommand: 'ls',
  routes: { ls: list, install },
})
