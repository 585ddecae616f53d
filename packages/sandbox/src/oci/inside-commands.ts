import { writeFile } from 'node:fs/promises'
import type { ProcessSpec } from '../engine.js'
import { commandOomScore, defaultPath, processBlock } from './bundle.js'

/** How commands get into one sandbox: by the OCI runtime. */
export class InsideCommands {
  constructor(
    private readonly sandboxId: string,
    private readonly crun: readonly string[],
    /** What every command in it has. */
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  environmentOf(env: Readonly<Record<string, string>>): Record<string, string> {
    return { PATH: defaultPath, HOME: '/root', LANG: 'C.UTF-8', TERM: 'dumb', ...this.environment, ...env }
  }

  /** Writes what is to be started; `env` is all of its environment. */
  async write(file: string, { args, env, cwd }: Pick<ProcessSpec, 'args' | 'env' | 'cwd'>): Promise<void> {
    await writeFile(file, JSON.stringify(processBlock(args, env, cwd)), { mode: 0o600 })
  }

  /** The program of the host that starts it. */
  exec(processFile: string, pidFile: string): string[] {
    const start = [...this.crun, 'exec', '--pid-file', pidFile, '--process', processFile, this.sandboxId]
    return ['choom', '-n', String(commandOomScore), '--', ...start]
  }
}
