import { once } from 'node:events'
import { constants, existsSync, openSync, readFileSync, statSync, watch } from 'node:fs'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { monitorRecordSchema, Vm0Error, type MonitorRecord } from '@vm0/contract'
import { spawn } from '@vm0/process'
import type { MonitoredProcess, OutputLine, ProcessSpec } from '../engine.js'
import { makeFifo } from './mounts.js'
import { Tail } from './output-tail.js'
import { identify, isSameProcess, type ProcessIdentity } from './processes.js'

/** How long after the process's end a child that holds its pipe may keep the record open. */
const drainMs = 2_000

const monitorFile = 'monitor.json'
const monitorPollMs = 100

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

/** What a process that is there under a monitor is known by. */
export interface MonitoredPlaces {
  /** Where the records are kept. */
  directory: string
  /** Where the FIFO is. The process sees this path of the host. */
  stdinPath: string
  /** Signals the process in the sandbox. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

export interface StartOptions extends MonitoredPlaces {
  spec: Pick<ProcessSpec, 'id' | 'maxOutputBytes'>
  command: readonly string[]
  /** Of the command and of the monitor. */
  environment: Readonly<Record<string, string>>
}

export type Disposable = MonitoredProcess & { dispose(): Promise<void> }

export async function startMonitored(options: StartOptions): Promise<Disposable> {
  return followMonitored(options, await startMonitor(options))
}

/** The process that `startMonitor` has started, wherever its places are by now. */
export function followMonitored(
  { directory, stdinPath, spec, kill }: MonitoredPlaces & Pick<StartOptions, 'spec'>,
  { closed }: Monitor,
): Disposable {
  return new Monitored(directory, spec, kill, closed, openStdin(stdinPath))
}

export interface Monitor {
  closed: Promise<unknown>
}

export async function startMonitor({
  directory,
  stdinPath,
  spec,
  command,
  environment,
}: Omit<StartOptions, 'kill'>): Promise<Monitor> {
  for (const stream of ['out', 'err']) {
    await mkdir(join(directory, stream), { recursive: true, mode: 0o700 })
    await writeFile(join(directory, stream, 'config'), 's0\n') // no rotation: the cap is ours
    await writeFile(join(directory, stream, 'current'), '', { mode: 0o600 })
  }
  makeFifo(stdinPath)
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
  const closed = once(monitor, 'close')
  const record: MonitorRecord = {
    v: 1,
    monitor: await identify(monitor.pid as number),
    maxOutputBytes: spec.maxOutputBytes,
  }
  await writeFile(join(directory, monitorFile), JSON.stringify(record))
  return { closed }
}

/** Goes on with a process that an earlier process of the platform has started; undefined where its record can't be used. */
export async function attachMonitored({
  id,
  directory,
  stdinPath,
  kill,
}: MonitoredPlaces & { id: string }): Promise<Disposable | undefined> {
  try {
    const { monitor, maxOutputBytes } = monitorRecordSchema.parse(
      JSON.parse(await readFile(join(directory, monitorFile), 'utf8')),
    )
    return new Monitored(directory, { id, maxOutputBytes }, kill, endOf(monitor), openStdin(stdinPath))
  } catch {
    return undefined
  }
}

/** The kernel tells the end of a process to its parent alone, which is another one by now. */
async function endOf(monitor: ProcessIdentity): Promise<void> {
  while (await isSameProcess(monitor)) await wait(monitorPollMs, undefined, { ref: false })
}

/** Both ways and without blocking: neither the open nor a write waits for a process that doesn't read. */
function openStdin(path: string): Socket {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  return new Socket({ fd, readable: false, writable: true })
}

function blocksOf({ maxOutputBytes }: Pick<ProcessSpec, 'maxOutputBytes'>): number {
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
  private knownPid = 0

  constructor(
    private readonly directory: string,
    private readonly spec: Pick<ProcessSpec, 'id' | 'maxOutputBytes'>,
    private readonly signal: StartOptions['kill'],
    monitorClosed: Promise<unknown>,
    private readonly stdin: Socket,
  ) {
    this.id = spec.id
    stdin.on('error', () => undefined)
    const exitWritten = waitForFile(join(directory, 'exit'), monitorClosed)
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
      const stat = readFileSync(`/proc/${this.pid()}/stat`, 'utf8')
      return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
    } catch {
      return false
    }
  }

  pid(): number | undefined {
    try {
      this.knownPid ||= Number(readFileSync(join(this.directory, 'pid'), 'utf8'))
    } catch {
      /* crun has not written it yet */
    }
    return this.knownPid || undefined
  }

  async kill(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    if (existsSync(join(this.directory, 'exit'))) return
    await waitForFile(join(this.directory, 'pid'), this.exited)
    await this.signal(signal)
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

/** A file that its writer is still about to fill counts for nothing: crun makes that of the process id empty. */
export async function waitForFile(path: string, otherwise: Promise<unknown>): Promise<void> {
  const watcher = watch(dirname(path))
  try {
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (statSync(path, { throwIfNoEntry: false })?.size) resolve()
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
