import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Vm0Error } from '@vm0/contract'

/**
 * An exclusive lock on a file, waited for. The kernel holds it for a child that lives as long as its stdin: when this
 * process ends in whatever way, the lock is free at once, so nobody has to find out whether a holder is alive.
 */
export async function lockFile(path: string, onWait: () => void, signal: AbortSignal): Promise<AsyncDisposable> {
  signal.throwIfAborted()
  const child = spawn('flock', ['--exclusive', path, 'sh', '-c', 'echo locked; exec cat >/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => undefined)
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const waiting = setTimeout(onWait, 500)
  const giveUp = (): void => void child.kill('SIGKILL')
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    const failed = once(child, 'close').then(() => 'failed' as const)
    const outcome = await Promise.race([once(child.stdout, 'data').then(() => 'locked' as const), failed])
    signal.throwIfAborted()
    if (outcome === 'failed') throw new Vm0Error('TEMPLATE_BUILD_FAILED', `The lock ${path} could not be taken.`)
  } catch (cause) {
    child.kill('SIGKILL')
    if (cause instanceof Vm0Error || cause === signal.reason) throw cause
    throw new Vm0Error(
      'RUNTIME_MISSING',
      'The command flock could not be started: expected it from the package util-linux.',
      { cause },
    )
  } finally {
    clearTimeout(waiting)
    signal.removeEventListener('abort', giveUp)
  }
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await closed
    },
  }
}
