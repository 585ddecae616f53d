import { resolve } from 'node:path'
import { buildCommand, type CommandContext } from '@stricli/core'
import type { Check } from '@vm0/contract/client'
import { gatherClientFacts } from '../doctor/client-facts.js'
import { checkClient } from '../doctor/client-verdicts.js'
import { findPlatform } from '../load-platform.js'
import { jsonLine, printableLine } from '../printable.js'
import { setting } from '../setting.js'
import { dim, green, red, yellow } from '../style.js'
import { help, json } from './shared-flags.js'

const paint = { ok: green, warning: yellow, problem: red }

export const doctor = buildCommand({
  docs: {
    brief: 'Check what VM0 needs here, and say how to mend what is missing',
    fullDescription: help(
      ['vm0 doctor', 'vm0 doctor --json | jq -r \'select(.status != "ok").fix\''],
      [
        'Looks at the server and key, and, where @vm0/platform is installed, at what this machine needs to run it. Needs no',
        'running server. Exit status: 0 without problems (warnings are none), else 1.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      json,
      data: { kind: 'parsed', parse: String, optional: true, brief: 'Folder for sessions and logs (VM0_DATA)' },
    },
  },
  async func(this: CommandContext, flags: { json: boolean; data?: string }) {
    const platform = await findPlatform()
    const dataDir = setting(flags.data, 'VM0_DATA')
    const checks = [
      ...((await platform?.checkHost(dataDir ? { dataDir: resolve(dataDir) } : {})) ?? []),
      ...checkClient(await gatherClientFacts(platform !== undefined)),
    ]
    for (const check of checks) process.stdout.write(flags.json ? jsonLine(check) : sentence(check))
    if (checks.some(({ status }) => status === 'problem')) process.exitCode = 1
  },
})

function sentence({ name, status, found, fix }: Check): string {
  const line = `${paint[status](status.padEnd(7))}  ${name.padEnd(12)}  ${printableLine(found)}\n`
  return fix ? `${line}${dim(`${' '.repeat(23)}→ ${printableLine(fix)}`)}\n` : line
}
