import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract'

/** Holds a data folder for this process; the kernel frees it when the process ends in whatever way. */
export async function lockDataDir(directory: string): Promise<() => Promise<void>> {
  const child = spawn(
    'flock',
    ['--exclusive', '--nonblock', join(directory, '.lock'), 'sh', '-c', 'echo locked; exec cat >/dev/null'],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  )
  child.stdin.on('error', () => undefined)
  const closed = once(child, 'close')
  const locked = await Promise.race([once(child.stdout, 'data').then(() => true), closed.then(() => false)])
  if (!locked) throw new Vm0Error('DATA_IN_USE', `the data folder ${directory} is in use by another \`vm0 up\``)
  return async () => {
    child.stdin.end()
    await closed
  }
}
