import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, existsSync, openSync, readFileSync, statSync, watch } from 'node:fs'
import { mkdir, open, readFile, stat, writeFile, type FileHandle } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import type { MonitoredProcess, OutputLine, ProcessSpec } from '../engine.js'
import { run } from './commands.js'

/** `2026-11-24_13:14:15.12345 ` in front of each line of svlogd -tt. */
const stampLength = 26
/** How long after the process's end a child that holds its pipe may keep the record open. */
const drainMs = 2_000

/** A process that doesn't read: more than this is not kept for it. */
const maxUnreadBytes = 16 * 1024 ** 2

/**
 * Owns the process's pipes outside the sandbox: stdin is a FIFO that stays open, stdout and stderr go through loggers that
 * stamp each line. Nothing inside can reach the records. It runs in a session of its own and outlives this process.
 * The loggers can't write files larger than $1 blocks of 512 bytes: the kernel ends them there, also when nobody reads
 * the records, and whoever goes on writing gets SIGPIPE.
 */
const monitorScript = `
limit=$1; in=$2; shift 2
keep() { ulimit -c 0; ulimit -f "$limit"; exec svlogd -tt -b 65536 "$1"; }
exec 0<>"$in"
{ { setsid --wait "$@" 2>&3 3>&-; echo $? >exit.tmp; mv exit.tmp exit; } | keep out; } 3>&1 | keep err
`

export interface StartOptions {
  /** Where the records are kept. */
  directory: string
  /** Where the FIFO is made. The process sees this path of the host. */
  stdinPath: string
  spec: ProcessSpec
  command: readonly string[]
  /** Of the command and of the monitor. */
  environment: Readonly<Record<string, string>>
  /** Signals the process in the sandbox. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

export async function startMonitored({
  directory,
  stdinPath,
  spec,
  command,
  environment,
  kill,
}: StartOptions): Promise<MonitoredProcess & { dispose(): Promise<void> }> {
  for (const stream of ['out', 'err']) {
    await mkdir(join(directory, stream), { recursive: true, mode: 0o700 })
    await writeFile(join(directory, stream, 'config'), 's0\n') // no rotation: the cap is ours
    await writeFile(join(directory, stream, 'current'), '', { mode: 0o600 })
  }
  await run('mkfifo', ['-m', '600', stdinPath])
  const monitor = spawn('sh', ['-c', monitorScript, 'vm0-monitor', String(blocksOf(spec)), stdinPath, ...command], {
    cwd: directory,
    stdio: 'ignore',
    detached: true,
    env: environment,
  })
  await once(monitor, 'spawn').catch((cause: unknown) => {
    throw new Vm0Error('RUNTIME_MISSING', 'the monitor could not be started: expected sh and svlogd (package runit)', {
      cause,
    })
  })
  // Both ways and without blocking: neither the open nor a write waits for a process that doesn't read.
  const stdin = new Socket({
    fd: openSync(stdinPath, constants.O_RDWR | constants.O_NONBLOCK),
    readable: false,
    writable: true,
  })
  return new Monitored(directory, spec, kill, once(monitor, 'close'), stdin)
}

function blocksOf({ maxOutputBytes }: ProcessSpec): number {
  return Math.ceil(maxOutputBytes / 512)
}

class Monitored implements MonitoredProcess {
  readonly id: string
  readonly exited: Promise<{ exitCode: number; reason: 'exit' | 'output_limit' }>
  private overLimit = false
  private disposed = false
  private readonly wake = new Wake()
  private readonly tails: Tail[] = []
  private readonly recordClosed: Promise<void>

  constructor(
    private readonly directory: string,
    private readonly spec: ProcessSpec,
    private readonly signal: StartOptions['kill'],
    monitorClosed: Promise<unknown>,
    private readonly stdin: Socket,
  ) {
    this.id = spec.id
    stdin.on('error', () => undefined)
    const exitWritten = waitForFile(directory, 'exit', monitorClosed)
    this.exited = exitWritten.then(async () => {
      this.stdin.destroy()
      const status = await readFile(join(directory, 'exit'), 'utf8').catch(() => '')
      const overLimit = this.overLimit || (await this.recordIsFull())
      return { exitCode: status ? Number(status) : 137, reason: overLimit ? 'output_limit' : 'exit' } as const
    })
    this.recordClosed = exitWritten.then(async () => {
      let timer: NodeJS.Timeout | undefined
      await Promise.race([
        monitorClosed,
        new Promise((resolve) => {
          timer = setTimeout(resolve, drainMs)
        }),
      ])
      clearTimeout(timer)
    })
  }

  /** The process may have ended of a full record before anybody has read it to there. */
  private async recordIsFull(): Promise<boolean> {
    const records = ['out', 'err'].map((stream) => stat(join(this.directory, stream, 'current')))
    const sizes = (await Promise.allSettled(records)).map((each) => (each.status === 'fulfilled' ? each.value.size : 0))
    return sizes.some((size) => size >= blocksOf(this.spec) * 512)
  }

  write(line: string): Promise<void> {
    if (this.stdin.writableLength > maxUnreadBytes)
      return Promise.reject(
        new Vm0Error('NOT_READY', `the agent has not read the last ${maxUnreadBytes} bytes of its input yet`),
      )
    return new Promise((resolve) => {
      if (this.stdin.destroyed) resolve()
      // A process that has ended takes no more: `exited` and `output` tell it, to whoever waits for its answer.
      else this.stdin.write(`${line}\n`, () => resolve())
    })
  }

  async *output(): AsyncGenerator<OutputLine> {
    const streams = ['stdout', 'stderr'] as const
    const { wake } = this
    const tails = streams.map(
      (stream) => new Tail(join(this.directory, stream === 'stdout' ? 'out' : 'err', 'current'), stream),
    )
    this.tails.push(...tails)
    const watchers = tails.map((tail) => watch(tail.path, () => wake.ring()))
    let ended = false
    void this.recordClosed.then(() => {
      ended = true
      wake.ring()
    })
    try {
      while (!this.disposed) {
        const last = ended
        const lines = (await Promise.all(tails.map((tail) => tail.read())))
          .flat()
          .toSorted((a, b) => a.timeMs - b.timeMs)
        if (!this.overLimit && tails.some((tail) => tail.bytes >= blocksOf(this.spec) * 512)) {
          this.overLimit = true
          await this.kill()
        }
        yield* lines
        if (last && lines.length === 0) return
        if (lines.length === 0 && !ended) await wake.wait()
      }
    } finally {
      for (const watcher of watchers) watcher.close()
      for (const tail of tails) await tail.close()
    }
  }

  /** Gives back this process's handles when the sandbox goes; readers of its output see its end. */
  async dispose(): Promise<void> {
    this.disposed = true
    this.wake.ring()
    this.stdin.destroy()
    for (const tail of this.tails) await tail.close()
  }

  isRunning(): boolean {
    try {
      const stat = readFileSync(`/proc/${readFileSync(join(this.directory, 'pid'), 'utf8').trim()}/stat`, 'utf8')
      return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
    } catch {
      return false
    }
  }

  async kill(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    if (existsSync(join(this.directory, 'exit'))) return
    await waitForFile(this.directory, 'pid', this.exited)
    await this.signal(signal)
  }
}

/** Of a longer line only the head is kept, with a mark of what is missing: a line has to fit into memory several times. */
const maxLineBytes = 32 * 1024 ** 2

/** New whole lines of a growing file. */
class Tail {
  bytes = 0
  private handle: FileHandle | undefined
  private parts: Buffer[] = []
  private lineBytes = 0
  private closed = false
  private readonly chunk = Buffer.allocUnsafe(256 * 1024)

  constructor(
    readonly path: string,
    private readonly stream: 'stdout' | 'stderr',
  ) {}

  async read(): Promise<OutputLine[]> {
    if (this.closed) return []
    this.handle ??= await open(this.path, 'r')
    const lines: OutputLine[] = []
    for (;;) {
      const { handle } = this
      if (!handle) return lines
      const { bytesRead } = await handle.read(this.chunk, 0, this.chunk.length, this.bytes)
      if (bytesRead === 0) return lines
      this.bytes += bytesRead
      let start = 0
      for (
        let newline = this.chunk.indexOf(10);
        newline >= 0 && newline < bytesRead;
        newline = this.chunk.indexOf(10, start)
      ) {
        this.keep(this.chunk.subarray(start, newline))
        const line = this.line()
        start = newline + 1
        lines.push({ timeMs: parseStamp(line), stream: this.stream, text: line.slice(stampLength) })
      }
      this.keep(this.chunk.subarray(start, bytesRead))
      if (lines.length > 256) return lines
    }
  }

  private keep(part: Buffer): void {
    const room = Math.max(0, maxLineBytes - this.lineBytes)
    if (room > 0 && part.length > 0) this.parts.push(Buffer.from(part.subarray(0, room)))
    this.lineBytes += part.length
  }

  private line(): string {
    const cut = this.lineBytes - maxLineBytes
    const head = Buffer.concat(this.parts).toString('utf8')
    this.parts = []
    this.lineBytes = 0
    return cut > 0 ? `${head}…[${cut} bytes cut]` : head
  }

  async close(): Promise<void> {
    this.closed = true
    const { handle } = this
    this.handle = undefined
    await handle?.close()
  }
}

class Wake {
  private rung = false
  private resolve: (() => void) | undefined
  ring(): void {
    this.rung = true
    this.resolve?.()
  }
  async wait(): Promise<void> {
    if (!this.rung) await new Promise<void>((resolve) => (this.resolve = resolve))
    this.rung = false
  }
}

function parseStamp(line: string): number {
  return Date.parse(`${line.slice(0, 10)}T${line.slice(11, 23)}Z`) + Number(line.slice(23, 25)) / 100
}

/** A file that its writer is still about to fill counts for nothing: crun makes that of the process id empty. */
async function waitForFile(directory: string, name: string, otherwise: Promise<unknown>): Promise<void> {
  const watcher = watch(directory)
  try {
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (statSync(join(directory, name), { throwIfNoEntry: false })?.size) resolve()
      }
      watcher.on('change', check)
      watcher.on('error', reject)
      void otherwise.then(() => resolve())
      check()
    })
  } finally {
    watcher.close()
  }
}
