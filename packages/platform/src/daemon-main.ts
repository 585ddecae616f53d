import { toVm0Error } from '@vm0/contract'
import { startDaemon, type DaemonOptions } from './daemon.js'

const maxStopMs = 120_000

/** The process behind `vm0 up`, in a mount namespace of its own. Its options come as JSON in the first argument. */
const stopped = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve())
})
try {
  const starting = startDaemon(JSON.parse(process.argv[2] as string) as DaemonOptions)
  const daemon = await starting
  process.stdout.write(`VM0 is ready at ${daemon.url}\n`)
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
  const error = toVm0Error(thrown)
  process.stderr.write(`error ${error.code}: ${error.message}\n${error.hint}\n`)
  process.exit(error.exitStatus)
}
