import { constants } from 'node:os'
import { toVm0Error } from '@vm0/contract'
import { startDaemon, type DaemonOptions } from './daemon.js'

const maxStopMs = 120_000

/** The process behind `vm0 up`, in a mount namespace of its own. Its options come as JSON in the first argument. */
const stopping = new AbortController()
const stopped = new Promise<void>((resolve) => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => {
      stopping.abort(name)
      resolve()
    })
})
// Whoever read the first lines may be gone: that is no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
try {
  const daemon = await startDaemon(JSON.parse(process.argv[2] as string) as DaemonOptions, stopping.signal)
  process.stdout.write(`VM0 is ready at ${daemon.url}\n`)
  void daemon.warmed.then((isWarm) => {
    if (isWarm && !stopping.signal.aborted)
      process.stdout.write('A sandbox waits warm: the next new session starts in it\n')
  })
  await stopped
  process.stderr.write('stopping: sessions are being saved\n')
  // What a stop that never ends would leave is found and removed at the next start, as after a crash.
  setTimeout(() => {
    process.stderr.write(`stopping took longer than ${maxStopMs / 1000} s: ended without saving what is left\n`)
    process.exit(1)
  }, maxStopMs).unref()
  await daemon.stop()
  process.exit(0)
} catch (thrown) {
  if (thrown === stopping.signal.reason) {
    process.stderr.write('stopped before it was ready\n')
    process.exit(128 + constants.signals[thrown as NodeJS.Signals])
  }
  const error = toVm0Error(thrown)
  process.stderr.write(`error ${error.code}: ${error.message}\n${error.hint}\n`)
  process.exit(error.exitStatus)
}
