import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { MonitoredProcess, ProcessSpec } from '../engine.js'
import type { InsideCommands } from './inside-commands.js'
import { attachMonitored, startMonitored, type Disposable, type MonitoredPlaces } from './monitored-process.js'
import { killInside } from './processes.js'
import { sandboxMarker } from './strays.js'
import { waitingArgs, WaitingProcess } from './waiting-process.js'

export interface SpawnedParts {
  /** Of the sandbox. */
  id: string
  /** Host folder of mounts and bundle (under /run). */
  runDirectory: string
  /** Host folder of the records of its processes. */
  recordDirectory: string
  /** As in the OCI configuration. */
  cgroupsPath: string
  /** The environment of the commands that start processes in it. */
  hostEnvironment: Readonly<Record<string, string>>
  commands: InsideCommands
}

/** The long-lived processes of one sandbox, each under its monitor. */
export class Spawned {
  private readonly monitored: { id: string; dispose(): Promise<void> }[] = []
  private waiting: WaitingProcess | undefined

  constructor(private readonly parts: SpawnedParts) {}

  /** The first one begins as the process that waits, where one does. */
  async spawn(spec: ProcessSpec): Promise<MonitoredProcess> {
    const { waiting } = this
    this.waiting = undefined
    const command = { ...spec, env: this.parts.commands.environmentOf(spec.env) }
    const places = this.placesOf(spec.id)
    const started = (await waiting?.become(command, spec, places)) ?? (await this.start(spec))
    this.monitored.push(started)
    return started
  }

  private async start(spec: ProcessSpec): Promise<Disposable> {
    const places = this.placesOf(spec.id)
    await mkdir(places.directory, { recursive: true, mode: 0o700 })
    return startMonitored({ ...places, spec, ...(await this.startOf(spec, places)) })
  }

  /** Has a process wait, which the first that is spawned begins as. */
  async awaitSpawn({ maxOutputBytes }: Pick<ProcessSpec, 'maxOutputBytes'>): Promise<void> {
    // As those of a command: a later process of the platform ends it.
    const pidFile = join(this.parts.runDirectory, 'exec-0.pid')
    const places = { ...this.placesOf('waiting'), pidFile, kill: this.killerOf(pidFile) }
    await mkdir(places.directory, { recursive: true, mode: 0o700 })
    const start = await this.startOf({ args: waitingArgs, cwd: '/' }, places)
    this.waiting = await WaitingProcess.start(places, maxOutputBytes, start)
  }

  private async startOf(
    { args, cwd, env }: Pick<ProcessSpec, 'args' | 'cwd'> & Partial<Pick<ProcessSpec, 'env'>>,
    { directory, pidFile }: { directory: string; pidFile: string },
  ) {
    const { commands, hostEnvironment, id } = this.parts
    const processFile = join(directory, 'process.json')
    await commands.write(processFile, { args, cwd, env: env ? commands.environmentOf(env) : {} })
    return { command: commands.exec(processFile, pidFile), environment: { ...hostEnvironment, [sandboxMarker]: id } }
  }

  async attach(id: string): Promise<MonitoredProcess | undefined> {
    const found = await attachMonitored({ id, ...this.placesOf(id) })
    if (found) this.monitored.push(found)
    return found
  }

  /** Their ids on the host. */
  async pids(): Promise<Set<number>> {
    const files = this.monitored.map(({ id }) => readFile(this.placesOf(id).pidFile, 'utf8').catch(() => '0'))
    const pids = new Set((await Promise.all(files)).map(Number))
    if (this.waiting) pids.add(this.waiting.pid)
    return pids
  }

  private placesOf(id: string): MonitoredPlaces & { pidFile: string } {
    const directory = join(this.parts.recordDirectory, id)
    const pidFile = join(directory, 'pid')
    return {
      directory,
      pidFile,
      stdinPath: join(this.parts.runDirectory, `${id}.stdin`),
      kill: this.killerOf(pidFile),
    }
  }

  private killerOf(pidFile: string): MonitoredPlaces['kill'] {
    return (signal) => killInside(pidFile, this.parts.cgroupsPath, signal)
  }

  /** Gives back this process's handles. */
  async dispose(): Promise<void> {
    await Promise.all(this.monitored.map((each) => each.dispose()))
  }
}
