import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { TestPlatform } from './platform.js'

export const commandPath = join(import.meta.dirname, '../../packages/vm0/dist/cli/main.js')

export interface CommandOptions {
  input?: string
  env?: Record<string, string>
  cwd?: string
  /** Gives it a terminal of its own: both streams arrive together as `stdout`. */
  terminal?: boolean
  /** Is told of what it writes; may send it a signal. */
  onOutput?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void
}

export interface CommandResult {
  status: number
  stdout: string
  stderr: string
}

/** Runs the `vm0` command against a platform, with its own notes of folders. */
export async function command(
  platform: TestPlatform,
  args: readonly string[],
  { input = '', env = {}, cwd, terminal = false, onOutput }: CommandOptions = {},
): Promise<CommandResult> {
  const words = [process.execPath, commandPath, ...args]
  const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  const [program, ...rest] = terminal ? ['script', '-qec', `stty cols 100; ${quoted}`, '/dev/null'] : words
  const child = spawn(program as string, rest, {
    cwd,
    env: {
      ...process.env,
      VM0_CONFIG: join(platform.directory, 'config.json'),
      XDG_STATE_HOME: join(platform.directory, 'state'),
      NO_COLOR: '',
      ...env,
    },
  })
  const out = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out.stdout += text
    onOutput?.(out.stdout, (signal) => child.kill(signal))
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    out.stderr += text
  })
  child.stdin.on('error', () => undefined) // it may end without reading all of it
  if (!terminal) child.stdin.end(input)
  const [status] = (await once(child, 'close')) as [number]
  return { status, ...out }
}

/** The objects of `--json`. */
export function objects({ stdout }: CommandResult): Record<string, any>[] {
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, any>)
}
