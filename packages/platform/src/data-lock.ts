import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Vm0Error } from '@vm0/contract'

/** The helper that holds a lock for a process that was killed lives on for an instant. */
const heldByTheDeadSeconds = 2
/** How long the start waits for an earlier process that says that it is stopping: it saves sessions. */
const stoppingSeconds = 60

export interface DataLock {
  /** Lets the next `vm0 up` on this folder wait instead of being refused. */
  announceStop(): Promise<void>
  release(): Promise<void>
}

/** Holds a data folder for this process; the kernel frees it when the process ends in whatever way. */
export async function lockDataDir(directory: string, onWait: () => void): Promise<DataLock> {
  const path = join(directory, '.lock')
  const marker = join(directory, '.stopping')
  let release = await holdLock(path, heldByTheDeadSeconds)
  if (!release && existsSync(marker)) {
    onWait()
    release = await holdLock(path, stoppingSeconds)
  }
  if (!release) throw new Vm0Error('DATA_IN_USE', `the data folder ${directory} is in use by another \`vm0 up\``)
  const held = release
  await rm(marker, { force: true })
  return {
    announceStop: () => writeFile(marker, ''),
    release: async () => {
      await rm(marker, { force: true })
      await held()
    },
  }
}

/** Holds what an installation has on this host, whichever copy of its data folder is started. */
export async function lockInstallation(installation: string, directory: string): Promise<() => Promise<void>> {
  const path = `/run/vm0/locks/${installation}`
  const release = await holdLock(path, heldByTheDeadSeconds)
  if (!release)
    throw new Vm0Error(
      'DATA_IN_USE',
      `the data folder ${directory} is a copy of one that is in use on this host (installation ${installation})`,
    )
  return async () => {
    await rm(path, { force: true })
    await release()
  }
}

async function holdLock(path: string, waitSeconds: number): Promise<(() => Promise<void>) | undefined> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const child = spawn(
    'flock',
    ['--exclusive', '--timeout', String(waitSeconds), path, 'sh', '-c', 'echo locked; exec cat >/dev/null'],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  )
  child.stdin.on('error', () => undefined)
  const closed = once(child, 'close')
  const locked = await Promise.race([once(child.stdout, 'data').then(() => true), closed.then(() => false)])
  if (!locked) return undefined
  return async () => {
    child.stdin.end()
    await closed
  }
}
