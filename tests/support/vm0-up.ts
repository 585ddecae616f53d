import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { constants } from 'node:os'
import { createInterface } from 'node:readline'

const command = join(import.meta.dirname, '../../packages/vm0/dist/cli/main.js')

export interface UpOptions {
  /** The platform's folders lie in it: `data`, `config.json`. */
  directory: string
  port?: number
  env?: NodeJS.ProcessEnv
  /** Command in front of it, such as setpriv with its arguments. */
  prefix?: string[]
}

/** The command `vm0 up` as a person starts it: what it says, its signals, its status. */
export class Vm0Up {
  readonly ended: Promise<number>
  /** Rejects with what it said when it ends instead. */
  readonly ready: Promise<void>
  words = ''
  private readonly lines: AsyncIterator<string>

  private static readonly running = new Set<ChildProcess>()

  private constructor(readonly child: ChildProcess) {
    Vm0Up.running.add(child)
    child.once('close', () => Vm0Up.running.delete(child))
    this.ended = once(child, 'close').then(([code, signal]) =>
      code === null ? 128 + constants.signals[signal as NodeJS.Signals] : (code as number),
    )
    this.ready = new Promise((resolve, reject) => {
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        this.words += text
        if (this.words.includes('ready at')) resolve()
      })
      child.once('close', () => reject(new Error(`vm0 up ended: ${this.words}`)))
    })
    this.ready.catch(() => undefined)
    this.lines = createInterface({ input: child.stderr! })[Symbol.asyncIterator]()
  }

  static start({ directory, port = 0, env = {}, prefix = [] }: UpOptions): Vm0Up {
    const [program, ...args] = [
      ...prefix,
      process.execPath,
      command,
      'up',
      '--port',
      String(port),
      '--data',
      join(directory, 'data'),
    ]
    const child = spawn(program as string, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, VM0_CONFIG: join(directory, 'config.json'), NODE_OPTIONS: '', ...env },
    })
    return new Vm0Up(child)
  }

  /** Runs it to its end, for the cases in which it can't start. */
  static async failing(options: UpOptions): Promise<{ status: number; words: string }> {
    const up = Vm0Up.start(options)
    await up.says(/^$a/)
    return { status: await up.ended, words: up.words }
  }

  /** Ends those that a failed test has left. */
  static async endAll(): Promise<void> {
    await Promise.all([...Vm0Up.running].map((child) => (child.kill(), once(child, 'close'))))
  }

  /** Resolves when it has said something that matches, or has said all. */
  async says(pattern: RegExp): Promise<boolean> {
    for (;;) {
      const { value, done } = await this.lines.next()
      if (done) return pattern.test(this.words)
      this.words += `${value}\n`
      if (pattern.test(value)) return true
    }
  }

  async signal(name: NodeJS.Signals): Promise<number> {
    this.child.kill(name)
    await this.says(/^$a/)
    return this.ended
  }
}
