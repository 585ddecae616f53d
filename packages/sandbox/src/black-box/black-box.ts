import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import type { Scene, SceneProcess, Uncommitted } from '@vm0/contract'
import type { Cgroup, Details, Gauge, Meter } from '../cgroup/cgroup.js'
import { blamedFor } from './blamed.js'
import { CpuWaits } from './cpu-waits.js'
import { Crowd } from './crowd.js'
import { weight } from './ended-processes.js'
import { crashOf } from './kernel-words.js'
import { KernelKills } from './kernel-kills.js'
import { MemoryCurve } from './memory-curve.js'
import { pauseMs } from './pace.js'
import { ProcessTable, waitPlaceOf, ioOf } from './process-table.js'
import type { Recorded, Recorder } from './recorder.js'
import { descendants } from './runaway.js'
import { diskOf, hostPressure, isFull, largest, networkOf, shownProcess } from './scenes.js'
import { unansweredIn } from './sockets.js'
import { ofCommand, toolProcess } from './tool-process.js'
import { Starvation } from './starvation.js'
import type {
  BlackBox,
  LiveFigures,
  MemoryLimitMet,
  OwnedChild,
  SandboxWatcher,
  SeenProcesses,
  WaitingProcess,
} from './types.js'
import { changedFiles } from './uncommitted.js'

export interface RecordedSandbox {
  cgroup: Cgroup
  /** The host's id of its first process. */
  initPid: number
  /** Where its disk is mounted on the host. */
  disk: string
  /** The host's end of its network link. */
  link: string
  /** The first of the user ids that are its own. */
  uidBase: number
}

/** Looking at the processes may take this part of one CPU. */
const lookShare = 1 / 50
const processesMs = { fresh: 25, wanted: 250, else: 10_000 }
/** After a call has begun: the shell that says which call it is of may be gone soon. */
const freshMs = 400
const longestPauseMs = 2_000
const detailsMs = 1_000
/** CPU time since the last look without which no process can have come or gone; the other one right after a call began. */
const quietCpuMs = 5
const startCpuMs = 0.3
/** While no call is at work: after that nobody asks for what has ended. */
const keptEndedMs = 60_000
const shownToolProcesses = 50
const clockSlackMs = 100

/** Samples one sandbox into what can be told of it when something goes wrong, and decides what is held at its memory limit. */
export class SandboxRecorder implements BlackBox, Recorded {
  private readonly meter: Meter
  private readonly table = new ProcessTable()
  private readonly curve = new MemoryCurve()
  private readonly starvation = new Starvation(availableParallelism())
  private readonly waits = new CpuWaits()
  private readonly crowd = new Crowd()
  private readonly kills = new KernelKills(this.table, () => this.scene(), {
    isTold: () => this.recorder.exits.listens,
    look: () => this.lookNow(Date.now()),
  })
  private readonly unsubscribe: () => void
  private watcher: SandboxWatcher | undefined
  private last: (Gauge & { atMs: number }) | undefined
  private details: Details
  private cpuShare = 0
  private lookedAtMs = 0
  private lookTookMs = 0
  private freshUntilMs = 0
  private lookedAtCpuMs = 0
  /** When the processes had been looked at before the counters were read last. */
  private lookedBeforeMs = 0
  private detailsAtMs = 0
  private detailsAtCpuMs = 0
  private lastScene: Scene | undefined
  private handling = false
  private told = { fork: 0, disk: false }

  constructor(
    private readonly parts: RecordedSandbox,
    private readonly recorder: Recorder,
  ) {
    this.meter = parts.cgroup.meter()
    this.details = this.meter.details()
    recorder.add(this)
    this.unsubscribe = recorder.exits.subscribe(parts.uidBase, (end) => {
      this.table.ended(end, Date.now())
      this.waits.ended(end, Date.now())
    })
  }

  /** Nothing can happen in a sandbox that is frozen. */
  pause(): void {
    this.cpuShare = 0
    if (!this.handling) this.recorder.remove(this)
  }

  resume(): void {
    this.recorder.add(this)
  }

  close(): void {
    this.recorder.remove(this)
    this.watcher = undefined
    this.lastScene ??= this.scene()
    this.unsubscribe()
    this.meter.close()
  }

  watch(watcher: SandboxWatcher, oomKills?: number): () => void {
    this.watcher = watcher
    this.details = this.meter.details()
    this.told = { fork: this.details.forksRefused, disk: isFull(this.disk()) }
    this.kills.reset(oomKills ?? this.meter.gauge().oomKills)
    this.starvation.reset()
    this.waits.reset(Date.now())
    this.crowd.reset()
    this.recorder.wake(this)
    return () => {
      if (this.watcher === watcher) this.watcher = undefined
    }
  }

  wake(): void {
    this.freshUntilMs = Date.now() + freshMs
    this.recorder.wake(this)
  }

  async settle(): Promise<void> {
    if (this.details.limitBytes > 0) {
      this.look()
      if (this.watcher) this.lookAtDetails(Date.now(), true)
    }
    await this.kills.settled()
  }

  look(): number {
    const now = Date.now()
    const { last } = this
    const gauge = this.meter.gauge()
    const passedMs = Math.max(1, now - (last?.atMs ?? now - 1_000))
    const cpuMs = gauge.cpuMs - (last?.cpuMs ?? gauge.cpuMs)
    this.cpuShare = cpuMs / passedMs
    this.last = { ...gauge, atMs: now }
    this.curve.add(now, gauge.memoryBytes)
    this.watcher?.onMemory?.(now, gauge.memoryBytes, this.details.limitBytes)
    const { lookedBeforeMs } = this
    this.lookedBeforeMs = this.lookedAtMs
    const isCrowded = this.lookAtProcesses(now, gauge)
    // Also once after it has come to rest: what it did last may have filled its disk.
    const isDue = isCrowded || now - this.detailsAtMs >= detailsMs
    if (this.watcher && gauge.cpuMs > this.detailsAtCpuMs) {
      this.lookAtDisk(now)
      if (isDue) {
        this.detailsAtCpuMs = gauge.cpuMs
        this.lookAtDetails(now)
      }
    }
    if (gauge.atLimit && !this.handling) void this.atLimit().catch(() => undefined)
    this.kills.counted(gauge.oomKills, lookedBeforeMs, this.watcher)
    const growth = (gauge.memoryBytes - (last?.memoryBytes ?? gauge.memoryBytes)) / passedMs
    const { limitBytes } = this.details
    const pause = pauseMs({
      cpuShare: this.cpuShare,
      memoryShare: limitBytes > 0 ? gauge.memoryBytes / limitBytes : 0,
      growth,
      leftBytes: limitBytes - gauge.memoryBytes,
      held: this.handling,
    })
    return Math.min(pause, this.processPauseMs(now))
  }

  private processPauseMs(now: number): number {
    if (!this.watcher?.wantsProcesses()) return processesMs.else
    return now < this.freshUntilMs ? processesMs.fresh : processesMs.wanted
  }

  figures(): LiveFigures {
    const { last, cpuShare, details, table } = this
    return {
      memoryBytes: last?.memoryBytes ?? 0,
      memoryLimitBytes: details.limitBytes,
      cpuShare: Math.max(0, Math.round(cpuShare * 1000) / 1000),
      processes: table.count,
      ...this.network(),
    }
  }

  scene(): Scene {
    const now = Date.now()
    this.details = this.meter.details()
    const gauge = this.meter.gauge()
    const isThere = this.details.limitBytes > 0
    if (!isThere && this.lastScene) return this.lastScene
    this.lookNow(now)
    const { limitBytes, peakBytes, anonBytes, fileBytes, shmemBytes, kernelBytes, pressure } = this.details
    const known = this.table.count > 0 ? this.table.processes : this.table.since(now - 10_000)
    this.lastScene = {
      memory: { usedBytes: gauge.memoryBytes, limitBytes, peakBytes, anonBytes, fileBytes, shmemBytes, kernelBytes },
      memoryCurve: this.curve.shown(now),
      processes: largest(known, now),
      processCount: this.details.processes,
      processLimit: this.details.processLimit,
      cpu: {
        share: Math.max(0, Math.round(this.cpuShare * 100) / 100),
        throttledMs: Math.round(this.details.throttledMs),
      },
      disk: this.disk(),
      network: this.network(),
      pressure: pressure ? { of: 'sandbox', ...pressure } : hostPressure(),
    }
    return this.lastScene
  }

  processesSince(ms: number, ancestor: number, owned: (child: OwnedChild) => boolean): SeenProcesses {
    this.lookNow(Date.now())
    const all = this.table.since(ms)
    const children = all.filter(
      ({ parentPid, startedAtMs }) => parentPid === ancestor && startedAtMs >= ms - clockSlackMs,
    )
    const below = children.filter(owned).flatMap((child) => ofCommand(descendants(child, all)))
    const processes = below
      .toSorted((a, b) => weight(b) - weight(a))
      .slice(0, shownToolProcesses)
      .toSorted((a, b) => a.startedAtMs - b.startedAtMs)
      .map(toolProcess)
    return { processes, seen: below.length + this.table.forgottenSince(ms) }
  }

  waiting(ancestor: number): WaitingProcess[] {
    const now = Date.now()
    this.lookNow(now)
    const root = this.table.get(ancestor)
    return (root ? descendants(root, this.table.processes) : []).slice(0, 20).map((entry) => ({
      process: shownProcess(entry, now),
      place: waitPlaceOf(entry.pid),
    }))
  }

  readonly crashOf = crashOf

  unanswered(): string[] {
    return unansweredIn(this.parts.initPid)
  }

  uncommitted(sinceMs: number): Uncommitted {
    return changedFiles(join(this.parts.disk, 'upper/workspace'), sinceMs)
  }

  private lookNow(now: number): void {
    this.table.update(this.meter.processIds(), now)
    // After it: of what is not there any more the kernel has told the end before.
    this.recorder.exits.drain()
  }

  /** Whether there is hardly room for another process. */
  private lookAtProcesses(now: number, { cpuMs, atLimit }: Gauge): boolean {
    const pause = Math.max(this.processPauseMs(now), Math.min(this.lookTookMs / lookShare, longestPauseMs))
    const isQuiet = cpuMs - this.lookedAtCpuMs < (now < this.freshUntilMs ? startCpuMs : quietCpuMs)
    if (!atLimit && (now - this.lookedAtMs < pause || isQuiet)) return false
    // Not by the clock: where others have the CPU a look takes long and costs no more.
    const from = process.cpuUsage()
    this.lookNow(now)
    const { user, system } = process.cpuUsage(from)
    this.lookTookMs = (user + system) / 1000
    this.lookedAtMs = now
    this.lookedAtCpuMs = cpuMs
    if (!this.watcher?.wantsProcesses()) this.table.forget(now - keptEndedMs)
    return this.watcher !== undefined && this.crowd.look(this.table, this.details.processLimit, now)
  }

  private lookAtDetails(now: number, isOver = false): void {
    const beforeMs = this.detailsAtMs
    this.detailsAtMs = now
    this.details = this.meter.details()
    const { watcher, details, told } = this
    if (details.forksRefused > told.fork) {
      // Told once a run: a fork bomb is refused thousands of times a second.
      told.fork = Infinity
      const scene = this.scene()
      const [most, alike] = this.crowd.most(this.table, details.processLimit, now, beforeMs)
      watcher?.onProcessLimit?.(scene, most && shownProcess(most, now), alike)
    }
    const disk = this.disk()
    if (disk.totalBytes > 0) watcher?.onDisk?.(disk)
    watcher?.onFigures?.({ ...details, atMs: now, memoryBytes: this.last?.memoryBytes ?? 0 })
    this.waits.look(this.table.processes, now)
    const cpuMs = this.last?.cpuMs ?? 0
    const starved = this.starvation.next(
      now,
      { ...details, cpuMs, waitedMs: this.waits.totalMs, longestWaitMs: this.waits.longestMs },
      isOver,
    )
    if (!starved) return
    const { share, ...rest } = starved
    watcher?.onStarved?.(this.scene(), share, { ...rest, hostLoad: Math.round(loadavg()[0]! * 10) / 10 })
  }

  /** At every look: what fills a disk may take it back at once when it was refused more. */
  private lookAtDisk(now: number): void {
    if (this.told.disk || !isFull(this.disk())) return
    this.told.disk = true
    this.watcher?.onDiskFull?.(this.scene(), this.writer(now))
  }

  private async atLimit(): Promise<void> {
    this.handling = true
    try {
      const scene = this.scene()
      const met: MemoryLimitMet = {
        scene,
        // With its first process everything would end.
        ...blamedFor(this.table, this.parts.initPid, this.watcher?.agentPid()),
        raise: async (limitBytes) => {
          await this.parts.cgroup.limitMemory(limitBytes)
          this.details = this.meter.details()
        },
      }
      if (this.watcher) await this.watcher.onMemoryLimit(met).catch(() => met.stop())
      else await met.stop()
    } finally {
      this.handling = false
    }
  }

  private disk(): Scene['disk'] {
    return diskOf(this.parts.disk)
  }

  private network(): Scene['network'] {
    return networkOf(this.parts.link)
  }

  private writer(now: number): SceneProcess | undefined {
    const written = this.table.processes.map((entry) => ({ entry, bytes: ioOf(entry.pid)?.writtenBytes ?? 0 }))
    const [most] = written.toSorted((a, b) => b.bytes - a.bytes)
    return most && most.bytes > 0 ? shownProcess(most.entry, now) : undefined
  }
}
