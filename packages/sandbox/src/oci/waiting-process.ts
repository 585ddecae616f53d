import { readFile, rename } from 'node:fs/promises'
import type { ProcessSpec } from '../engine.js'
import {
  followMonitored,
  startMonitor,
  waitForFile,
  type Disposable,
  type Monitor,
  type MonitoredPlaces,
} from './monitored-process.js'
import { hasBecome, identify, isSameProcess, type ProcessIdentity } from './processes.js'

const shell = '/bin/sh'
/** A shell reads a pipe byte by byte: what is written after its line is for what it becomes. */
export const waitingArgs = [shell, '-c', 'read -r line; eval "$line"']
/** What it is told must fit into its pipe, and takes it a millisecond for each 2 KiB or so. */
const maxLineBytes = 16_384
/** Names that mean something to the shell itself. */
const shellNames = new Set(['IFS', 'LINENO', 'OPTIND', 'PPID', 'PS1', 'PS2', 'PS4', 'PWD', 'OLDPWD', 'line', 'nl'])
/** A line has none in it; a shell takes those at the end of what is printed away. */
const newline = String.raw`nl="$(printf '\nx')"; nl="${'$'}{nl%x}"`

export interface WaitingPlaces extends MonitoredPlaces {
  /** Where its id is written, by the host's count. */
  pidFile: string
}

/** What is to be started, with all of its environment. */
export type Command = Pick<ProcessSpec, 'args' | 'env' | 'cwd'>

/**
 * A process that waits in a sandbox, under a monitor and with no environment, to become another: the OCI runtime takes 12 to 25
 * ms to bring one there.
 */
export class WaitingProcess {
  private constructor(
    private readonly places: WaitingPlaces,
    private readonly monitor: Monitor,
    private readonly maxOutputBytes: number,
    private readonly identity: ProcessIdentity,
  ) {}

  static async start(
    places: WaitingPlaces,
    maxOutputBytes: number,
    start: { command: readonly string[]; environment: Readonly<Record<string, string>> },
  ): Promise<WaitingProcess> {
    const monitor = await startMonitor({ ...places, ...start, spec: { id: 'waiting', maxOutputBytes } })
    await waitForFile(places.pidFile, monitor.closed)
    const pid = Number(await readFile(places.pidFile, 'utf8').catch(() => '0'))
    if (!(pid > 1)) throw new Error('the process that was to wait in the sandbox has ended')
    await hasBecome(pid, shell)
    return new WaitingProcess(places, monitor, maxOutputBytes, await identify(pid))
  }

  get pid(): number {
    return this.identity.pid
  }

  /** It becomes this command, with its records at `places`; undefined where it can't: it has ended then. */
  async become(
    command: Command,
    spec: Pick<ProcessSpec, 'id' | 'maxOutputBytes'>,
    places: WaitingPlaces,
  ): Promise<Disposable | undefined> {
    const line = becomingLine(command)
    const fits = line !== undefined && spec.maxOutputBytes === this.maxOutputBytes
    if (!fits || !(await isSameProcess(this.identity))) {
      await this.places.kill('SIGKILL')
      return undefined
    }
    await rename(this.places.directory, places.directory)
    await rename(this.places.stdinPath, places.stdinPath)
    await rename(this.places.pidFile, places.pidFile)
    const process = followMonitored({ ...places, spec }, this.monitor)
    await process.write(line)
    return process
  }
}

/** What the shell carries out to become this command; undefined where it would understand something else. */
export function becomingLine({ args, env, cwd }: Command): string | undefined {
  const names = Object.keys(env)
  if (names.some((name) => !/^[A-Za-z_]\w*$/.test(name) || shellNames.has(name))) return undefined
  const steps = [
    ...names.map((name) => `export ${name}=${quoted(env[name] as string)}`),
    `cd ${quoted(cwd)} || exit 127`,
    // It would hand these on; what else it has set it keeps to itself.
    'unset PWD OLDPWD',
    `exec ${args.map(quoted).join(' ')}`,
  ]
  const text = steps.join('; ')
  const line = text.includes('\n') ? `${newline}; ${text.replaceAll('\n', `'"$nl"'`)}` : text
  return line.includes('\0') || Buffer.byteLength(line) > maxLineBytes ? undefined : line
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`
