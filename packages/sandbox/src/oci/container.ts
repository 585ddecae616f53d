import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { spawn } from '@vm0/process'
import { identify, type ProcessIdentity } from './processes.js'

export interface ContainerStart {
  id: string
  /** How crun is called: a program and its first arguments. */
  crun: readonly string[]
  /** The bundle: `config.json` is there. */
  directory: string
  env: Record<string, string>
}

/**
 * Starts the container and tells its first process. That one keeps the streams for as long as it lives and what runs inside
 * can reach them through it, so they are /dev/null and no file of the host; what crun itself says goes to its log.
 */
export async function startContainer({ id, crun, directory, env }: ContainerStart): Promise<ProcessIdentity> {
  const [command, ...options] = crun
  const log = join(directory, 'crun.log')
  const pidFile = join(directory, 'pid')
  const args = [...options, '--log', log, 'run', '--detach', '--bundle', directory, '--pid-file', pidFile, id]
  const child = spawn(command as string, args, { stdio: 'ignore', env })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) {
    const words = await readFile(log, 'utf8').catch(() => '')
    throw new Error(`crun could not start it: ${words.trim() || `it ended with ${code ?? 'a signal'}`}`)
  }
  return identify(Number(await readFile(pidFile, 'utf8')))
}
