import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Vm0Error } from '@vm0/contract'
import { defaultDataDir } from './paths.js'

export interface UpOptions {
  /** 0 takes a free one. */
  port?: number
  host?: string
  dataDir?: string
  /** An idle session's sandbox is saved and freed after this long. */
  idleMs?: number
  /** An idle session's sandbox is frozen after this long. */
  freezeMs?: number
  /** Memory of frozen sandboxes is given back while less than this of the host's is available: percent, 0 never, 100 always. */
  reclaimBelow?: number
  /** The most sandboxes that are kept warm for new sessions. */
  warm?: number
  /** Of them, those that are kept though nobody asks. */
  warmMin?: number
}

/**
 * Runs the platform until it is told to stop (SIGINT, SIGTERM); resolves with its exit status. The platform lives in a
 * mount namespace of its own, so that its mounts end with it, and without the empty unified hierarchy of a hybrid
 * cgroup layout, which crun refuses.
 */
export async function up({
  port = 7300,
  host = '127.0.0.1',
  dataDir = defaultDataDir,
  idleMs = 60_000,
  freezeMs = 5_000,
  reclaimBelow = 15,
  warm = 4,
  warmMin = 1,
}: UpOptions = {}): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new Vm0Error('ROOT_REQUIRED', 'the platform needs root to make sandboxes; this process runs as another user')
  if (!(reclaimBelow >= 0 && reclaimBelow <= 100))
    throw refused(`memory is to be given back below ${reclaimBelow} percent; expected 0 to 100`, '--reclaim-below')
  for (const [setting, count] of [['--warm', warm] as const, ['--warm-min', warmMin] as const])
    if (!(Number.isSafeInteger(count) && count >= 0))
      throw refused(`${count} sandboxes are to be kept warm; expected a whole number, 0 or more`, setting)
  for (const [setting, ms] of [['--freeze', freezeMs] as const, ['--idle', idleMs] as const])
    if (!(ms >= 0 && ms <= maxWaitMs))
      throw refused(
        `an idle session is to wait ${ms / 1000} seconds; expected 0 to ${Math.floor(maxWaitMs / 1000)}`,
        setting,
      )
  const main = fileURLToPath(new URL('./daemon-main.js', import.meta.url))
  const script = 'mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec "$@"'
  const child = spawn(
    'setpriv',
    [
      '--pdeathsig',
      'TERM',
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      script,
      'sh',
      process.execPath,
      main,
      JSON.stringify({ port, host, dataDir, freezeMs, idleMs, reclaimBelow, warm, warmMin }),
    ],
    { stdio: 'inherit', detached: true },
  )
  const forward = (signal: NodeJS.Signals): void => {
    child.kill(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, forward)
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    return code ?? 1
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, forward)
  }
}

/** More than this a timer can't wait: it would not wait at all. */
const maxWaitMs = 2 ** 31 - 1

/** Each setting has its variable: `--warm-min` is VM0_WARM_MIN. */
function refused(message: string, setting: string): Vm0Error {
  const variable = `VM0${setting.slice(1).toUpperCase().replaceAll('-', '_')}`
  return new Vm0Error('INVALID_REQUEST', message, { hint: `Correct ${setting} or ${variable}.` })
}
