#!/usr/bin/env node
import { buildApplication, buildRouteMap, run as runApplication, text_en } from '@stricli/core'
import { toVm0Error } from '@vm0/contract/client'
import { frameworks, logs, runs, sessions } from './commands/list.js'
import { keys } from './commands/keys.js'
import { run } from './commands/run.js'
import { cancel, close, exec, remove } from './commands/session.js'
import { up } from './commands/up.js'

const usageStatus = 2
let failure: number | undefined

/** What went wrong, why, and what to do: three lines at most. */
function tell(thrown: unknown): string {
  const error = toVm0Error(thrown)
  failure = error.exitStatus
  return `error ${error.code}: ${error.message}\n${error.hint}`
}

const application = buildApplication(
  buildRouteMap({
    docs: { brief: 'VM0: serverless infrastructure for coding agents' },
    routes: { up, run, sessions, runs, logs, exec, close, cancel, rm: remove, keys, frameworks },
  }),
  {
    name: 'vm0',
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    localization: { text: { ...text_en, exceptionWhileRunningCommand: tell, commandErrorResult: tell } },
  },
)

await runApplication(application, process.argv.slice(2), { process })
if (failure !== undefined) process.exitCode = failure
// Stricli tells a wrong command line by a negative status.
else if (typeof process.exitCode === 'number' && process.exitCode < 0) process.exitCode = usageStatus
