import { once } from 'node:events'
import { spawn } from '@vm0/process'

/**
 * Writes `text` to a control file up to `times` times, until the kernel refuses: how memory is taken back. Such a write takes as
 * long as the reclaim does and is given up only when its writer gets a signal, so the writer is a process of its own, which
 * `signal` ends. It leaves the CPU to others. Resolves to whether the last write was accepted.
 */
export async function writeUntilRefused(
  path: string,
  text: string,
  times: number,
  signal: AbortSignal,
): Promise<boolean> {
  if (signal.aborted || times < 1) return false
  const script = 'n=$3; while [ "$n" -gt 0 ]; do printf %s "$1" >"$2" || exit 1; n=$((n - 1)); done'
  const child = spawn('nice', ['-n', '10', 'sh', '-c', script, 'sh', text, path, String(times)], { stdio: 'ignore' })
  const stop = (): void => void child.kill('SIGKILL')
  signal.addEventListener('abort', stop, { once: true })
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    return code === 0
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
