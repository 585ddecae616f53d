import { spawn } from './spawn.js'

const maxStderr = 65_536

export class CommandFailed extends Error {
  constructor(
    readonly command: string,
    readonly exitCode: number | null,
    readonly stderr: string,
  ) {
    super(`${command} ended with ${exitCode ?? 'a signal'}: ${stderr.trim().slice(-2000) || 'it said nothing'}`)
  }
}

/** Runs a host command to its end and gives its stdout; a status other than 0 is a CommandFailed with its last words. */
export function run(command: string, args: readonly string[], stdin?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    const { stdout: out, stderr: err } = child
    out.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    err.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < maxStderr) stderr += text
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(stdin)
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0
        ? resolve(stdout)
        : reject(new CommandFailed(`${command} ${args.slice(0, 6).join(' ')}`, code, stderr)),
    )
  })
}
