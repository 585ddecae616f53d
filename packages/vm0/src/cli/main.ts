#!/usr/bin/env node
import { createRequire } from 'node:module'
import { buildApplication, buildRouteMap, run as runApplication, text_en } from '@stricli/core'
import { toVm0Error } from '@vm0/contract/client'
import { answer } from './commands/answer.js'
import { bench } from './commands/bench.js'
import { fork, log, rollback, save } from './commands/checkpoints.js'
import { diff } from './commands/diff.js'
import { doctor } from './commands/doctor.js'
import { encryption } from './commands/encryption.js'
import { exec } from './commands/exec.js'
import { frameworks } from './commands/frameworks.js'
import { exportSession } from './commands/export.js'
import { importSession } from './commands/import.js'
import { fsck } from './commands/fsck.js'
import { gc } from './commands/gc.js'
import { compare, insights } from './commands/insights.js'
import { replay } from './commands/replay.js'
import { keys } from './commands/keys.js'
import { projects } from './commands/projects.js'
import { pull } from './commands/pull.js'
import { push } from './commands/push.js'
import { run } from './commands/run.js'
import { cancel, logs, runs } from './commands/runs.js'
import { help } from './commands/shared-flags.js'
import { close, remove, sessions } from './commands/sessions.js'
import { templates } from './commands/templates.js'
import { top } from './commands/top.js'
import { trace } from './commands/trace.js'
import { up } from './commands/up.js'
import { webhooks } from './commands/webhooks.js'
import { why } from './commands/why.js'
import { printableLine } from './printable.js'

const usageStatus = 2
let failure: number | undefined

/** What went wrong and why, then what to do. */
function tell(thrown: unknown): string {
  const error = toVm0Error(thrown)
  failure = error.exitStatus
  return `error ${error.code}: ${printableLine(error.message)}\n${printableLine(error.hint)}`
}

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }

const application = buildApplication(
  buildRouteMap({
    docs: {
      brief: 'VM0: serverless infrastructure for coding agents',
      fullDescription: help(
        ['vm0 up', 'vm0 run "make the tests pass" -w .', 'vm0 pull', 'vm0 run --help'],
        [
          'An id may be given by its last eight characters; without one, the latest counts. Variables mirror options: VM0_SESSION,',
          'VM0_FRAMEWORK, VM0_TEMPLATE, VM0_MODEL, VM0_MEMORY, VM0_TIMEOUT; VM0_PORT, VM0_DATA, VM0_IDLE for `vm0 up`. VM0_API_URL and',
          'VM0_API_KEY name the server; without them it is the `vm0 up` of this user. NO_COLOR turns colours off.',
          '',
          'Exit status: 0 succeeded, 1 unexpected, 2 usage, 3 failed, 4 died out of memory, 5 cancelled, 6 died otherwise,',
          '7 server not reached or not allowed.',
        ].join('\n'),
      ),
    },
    routes: {
      up,
      run,
      sessions,
      runs,
      logs,
      trace,
      why,
      top,
      insights,
      compare,
      replay,
      answer,
      log,
      diff,
      fork,
      rollback,
      save,
      push,
      pull,
      exec,
      close,
      cancel,
      rm: remove,
      keys,
      projects,
      webhooks,
      frameworks,
      templates,
      export: exportSession,
      import: importSession,
      fsck,
      gc,
      encryption,
      doctor,
      bench,
    },
  }),
  {
    name: 'vm0',
    versionInfo: { currentVersion: version },
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    localization: { text: { ...text_en, exceptionWhileRunningCommand: tell, commandErrorResult: tell } },
  },
)

// A reader that has enough (`vm0 logs | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})
await runApplication(application, process.argv.slice(2), { process })
if (failure !== undefined) process.exitCode = failure
// Stricli tells a wrong command line by a negative status.
else if (typeof process.exitCode === 'number' && process.exitCode < 0) process.exitCode = usageStatus
