import { EventEmitter } from 'node:events'
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { endOf, makePipe, startProgram } from './libc.js'

type Stream = 'pipe' | 'ignore'
export type Stdio = readonly [stdin: Stream, stdout: Stream, stderr: Stream]

export interface SpawnOptions<S extends Stdio> {
  /** Which of the program's streams lead here; the others are /dev/null. */
  stdio: S | 'ignore'
  cwd?: string
  /** Default: this process's. The program itself is looked for on this process's PATH. */
  env?: Readonly<Record<string, string | undefined>>
  /** In a session and process group of its own. */
  detached?: boolean
}

interface Events {
  /** It is at work; emitted after `spawn` has returned. */
  spawn: []
  /** It could not be started. */
  error: [error: Error]
  exit: [code: number | null, signal: NodeJS.Signals | null]
  /** It has ended, and so have its streams. */
  close: [code: number | null, signal: NodeJS.Signals | null]
}

type Piped<S extends Stream, T> = S extends 'pipe' ? T : null

/** A program that was started, with the part of Node's ChildProcess that is in use here. */
export class HostProcess<S extends Stdio = Stdio> extends EventEmitter<Events> {
  /** Undefined where it could not be started. */
  pid: number | undefined
  exitCode: number | null = null
  signalCode: NodeJS.Signals | null = null
  private isRefed = true

  readonly stdin: Piped<S[0], Writable>
  readonly stdout: Piped<S[1], Readable>
  readonly stderr: Piped<S[2], Readable>

  constructor([stdin, stdout, stderr]: readonly (Socket | null)[]) {
    super()
    this.stdin = stdin as Piped<S[0], Writable>
    this.stdout = stdout as Piped<S[1], Readable>
    this.stderr = stderr as Piped<S[2], Readable>
  }

  /** False when it has ended. Its id is not given to another process before its end is known here. */
  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    if (this.pid === undefined || !running.has(this.pid)) return false
    return process.kill(this.pid, signal)
  }

  /** This process need not wait for its end. */
  unref(): void {
    this.isRefed = false
    keepAlive()
  }

  get isWaitedFor(): boolean {
    return this.isRefed
  }
}

/**
 * Starts a program as `spawn` of node:child_process does, at a cost that does not grow with this process: that one forks,
 * which copies the page tables (10 ms for each 100 MiB or so, in which nothing else happens here); this one shares the
 * memory until the program is at work, as posix_spawn(3) does. For the main thread alone, which is told of signals.
 */
export function spawn<const S extends Stdio = readonly ['ignore', 'ignore', 'ignore']>(
  command: string,
  args: readonly string[],
  { stdio, cwd, env = process.env, detached = false }: SpawnOptions<S>,
): HostProcess<S> {
  const wanted: Stdio = stdio === 'ignore' ? ['ignore', 'ignore', 'ignore'] : stdio
  const pipes = wanted.map((stream) => (stream === 'pipe' ? makePipe() : null))
  const theirs = pipes.map((pipe, index) => pipe && (index === 0 ? pipe.read : pipe.write))
  const ours = pipes.map((pipe, index) => pipe && streamOf(index === 0 ? pipe.write : pipe.read, index === 0))
  const child = new HostProcess<S>(ours)
  let failure: Error | undefined
  listen()
  try {
    child.pid = startProgram({
      args: [command, ...args],
      env: Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])),
      cwd,
      descriptors: theirs,
      newSession: detached,
    })
    running.set(child.pid, child as unknown as HostProcess)
    keepAlive()
  } catch (error) {
    failure = error as Error
  } finally {
    for (const fd of theirs) if (fd !== null) closeSync(fd)
  }
  process.nextTick(() => {
    if (!failure) return void child.emit('spawn')
    for (const stream of ours) stream?.destroy()
    child.emit('error', failure)
  })
  return child
}

const streamOf = (fd: number, writable: boolean): Socket => new Socket({ fd, readable: !writable, writable })

const running = new Map<number, HostProcess>()
let listening = false
let waiting: NodeJS.Timeout | undefined

/** Before the first program is started: it may have ended by the time that the start returns. */
function listen(): void {
  if (!listening) process.on('SIGCHLD', lookForEnds)
  listening = true
}

/** Several ends may be told by one signal. */
function lookForEnds(): void {
  for (const [pid, child] of running) {
    const status = endOf(pid)
    if (!status) continue
    running.delete(pid)
    const { code, signal } = status
    child.exitCode = code
    child.signalCode = signal
    child.emit('exit', code, signal)
    const open = [child.stdin, child.stdout, child.stderr].filter((stream) => stream && !stream.closed)
    let left = open.length
    const closed = (): void => {
      left -= 1
      if (left <= 0) child.emit('close', code, signal)
    }
    for (const stream of open) stream?.once('close', closed)
    child.stdin?.destroy()
    // What nobody reads would never end.
    for (const stream of [child.stdout, child.stderr]) if (stream?.readableFlowing === null) stream.resume()
    if (left === 0) closed()
  }
  keepAlive()
}

/** Nothing but a timer keeps Node waiting for a signal. */
function keepAlive(): void {
  const wanted = [...running.values()].some(({ isWaitedFor }) => isWaitedFor)
  if (wanted) waiting ??= setInterval(() => undefined, 2 ** 30)
  else {
    clearInterval(waiting)
    waiting = undefined
  }
}
