import { freemem, totalmem } from 'node:os'
import type { Blamed, CpuStarvation, CreateRunParsed, EventBody, Scene, SceneProcess } from '@vm0/contract'
import type { BlackBox, MemoryLimitMet, ResourceFigures, Sandbox, SandboxWatcher } from '@vm0/sandbox'
import type { LiveAgent } from '../live-agent.js'
import { isPressing } from '../pressing.js'
import { hostMemory } from '../reclaim/index.js'
import type { RunContext } from '../run-context.js'
import { MemoryTrack } from './memory-track.js'
import { decideMemory } from './memory-policy.js'
import { ResourceLines } from './resource-lines.js'
import { owningCall, runsCommandOf, type OpenCall } from './owning-call.js'
import { Silence } from './silence.js'
import { endedMessage, raisedNote, stoppedNote } from './words.js'

export interface RunWatchParts extends RunContext {
  agent(): LiveAgent | undefined
  /** Ends the run for this reason. */
  stop(why: 'memory' | 'silence', message: string): void
  /** Tells the agent something in the middle of its turn, where it still listens. */
  tell(note: string): void
}

const keptCalls = 100
const titleChars = 200
const unseenShell = /^\[(?:ba|z|da)?sh\]$/

interface WatchedCall extends OpenCall {
  title: string
  /** The agent's process then: once it has ended it can't be asked for. */
  agentPid: number | undefined
}

/** What a run's sandbox goes through while its agent is at work, as events of the run; and what is done about its memory. */
export class RunWatch implements SandboxWatcher {
  private readonly calls = new Map<string, WatchedCall>()
  private readonly silence: Silence
  private readonly memory = new MemoryTrack()
  private readonly resources = new ResourceLines()
  private sandbox: Sandbox | undefined
  private unwatch: (() => void) | undefined
  private firstLimitBytes = 0
  private stops = 0
  /** Of what the kernel has killed, how much it was when the agent was last seen alive. */
  killsSeen = 0
  private committedAtMs = Date.now()
  private heardAtMs = Date.now()
  private waiting = false
  private toldOfDisk = false

  constructor(
    private readonly parts: RunWatchParts,
    private readonly spec: Pick<CreateRunParsed, 'onOutOfMemory' | 'limits'>,
  ) {
    const limitMs = spec.limits?.idleTimeoutMs
    this.silence = new Silence(
      { reportMs: parts.runner.silenceMs, limitMs },
      {
        report: (silentMs) => this.silent(silentMs),
        limit: (silentMs) =>
          parts.stop('silence', `nothing came from the agent for ${Math.round(silentMs / 100) / 10} s`),
      },
    )
  }

  /** The agent has its prompt. `oomKills`: of an agent that was watched before, the kernel's kills that its run was told of. */
  begin(sandbox: Sandbox, oomKills?: number): void {
    this.unwatch?.()
    this.sandbox = sandbox
    this.unwatch = sandbox.blackBox.watch(this, oomKills)
    this.firstLimitBytes ||= sandbox.blackBox.figures().memoryLimitBytes
    this.silence.begin()
  }

  /** What the kernel has counted is in the run's log. */
  async settle(): Promise<void> {
    await this.box?.settle()
  }

  async close(): Promise<void> {
    this.silence.close()
    await this.settle()
    // Calls that its agent left open as it ended: the others tell their processes as they end.
    if (!this.parts.agent()?.process.isRunning()) for (const call of this.openCalls) this.tellProcesses(call)
    const memory = this.memory.take()
    if (memory) this.parts.log.append(memory)
    this.unwatch?.()
    this.unwatch = undefined
  }

  /** Something has come from the agent. `isNew`: the log doesn't have it from an earlier process. */
  observe(event: EventBody, timeMs: number, isNew: boolean): void {
    this.silence.heard()
    if (event.type !== 'message.delta' && event.type !== 'thinking.delta') this.heardAtMs = timeMs
    if (event.type === 'tool.started') {
      const input = event.input as { command?: unknown } | null
      const command = typeof input?.command === 'string' ? input.command : undefined
      const title = `${event.name} ${event.title}`.trim().slice(0, titleChars)
      this.calls.set(event.toolId, {
        toolId: event.toolId,
        command,
        title,
        startedAtMs: timeMs,
        agentPid: this.agentPid(),
      })
      this.box?.wake()
    }
    if (event.type !== 'tool.finished') return
    const call = this.calls.get(event.toolId)
    if (!call) return
    call.endedAtMs = timeMs
    // What ended it may be the kernel, whose count tells that.
    this.box?.wake()
    if (isNew) this.tellProcesses(call)
    // Those that have ended are needed while others that began before are at work.
    if (this.openCalls.length === 0 || this.calls.size > keptCalls) this.forgetEnded()
  }

  waits(waiting: boolean): void {
    this.waiting = waiting
    this.silence.pause(waiting)
  }

  committed(): void {
    this.committedAtMs = Date.now()
  }

  /** What the agent is at, and since when. */
  get activity(): { waiting: boolean; doing: string; sinceMs: number } {
    const call = this.openCalls.at(-1)
    const { waiting, heardAtMs } = this
    return call
      ? { waiting, doing: call.title, sinceMs: call.startedAtMs }
      : { waiting, doing: 'model', sinceMs: heardAtMs }
  }

  agentPid(): number | undefined {
    return this.parts.agent()?.process.pid()
  }

  wantsProcesses(): boolean {
    return this.openCalls.length > 0
  }

  async onMemoryLimit(met: MemoryLimitMet): Promise<void> {
    const { scene } = met
    const { limitBytes, usedBytes } = scene.memory
    const blamed = this.blamedOf(met)
    const decision = decideMemory({
      policy: this.spec.onOutOfMemory ?? 'tell-agent',
      isAgent: blamed?.isAgent ?? true,
      stops: this.stops,
      limitBytes,
      firstLimitBytes: this.firstLimitBytes,
      usedBytes,
      hostTotalBytes: totalmem(),
      hostAvailableBytes: availableBytes(),
    })
    const event = { type: 'sandbox.out_of_memory' as const, detected: 'held' as const, limitBytes, blamed, scene }
    const rest = { victims: [], uncommitted: this.uncommitted() }
    this.parts.runner.logger.info(
      { ...this.parts.ref, decision: decision.what, limitBytes, blamed: blamed?.process.command },
      'a sandbox has used up its memory',
    )
    if (decision.what === 'raise') {
      await met.raise(decision.limitBytes)
      const note = raisedNote(decision.limitBytes)
      this.parts.log.append({ ...event, ...rest, limitBytes: decision.limitBytes, action: 'doubled', note })
      return this.parts.tell(note)
    }
    if (decision.what === 'stop_run' || !blamed) {
      this.parts.log.append({ ...event, ...rest, action: 'stopped_run' })
      this.parts.stop('memory', endedMessage(blamed, limitBytes))
      return met.stop()
    }
    this.stops += 1
    const command = this.calls.get(blamed.toolId ?? '')?.command
    const note = stoppedNote(blamed, limitBytes, command)
    this.parts.log.append({ ...event, ...rest, action: 'stopped_process', note })
    this.parts.tell(note)
    await met.stop()
  }

  onKernelKill(scene: Scene, victims: readonly SceneProcess[], oomKills: number): void {
    const { limitBytes } = scene.memory
    this.parts.log.append({
      type: 'sandbox.out_of_memory',
      detected: 'killed',
      action: 'killed_by_kernel',
      limitBytes,
      blamed: null,
      victims: [...victims],
      scene,
      uncommitted: this.uncommitted(),
    })
    const agent = this.parts.agent()
    if (!agent?.process.isRunning() || victims.some(({ pid }) => pid === agent.process.pid())) return
    this.killsSeen = oomKills
    agent.journal?.add({ t: 'kills', oomKills })
  }

  onProcessLimit(scene: Scene, process: SceneProcess | undefined, alike: number): void {
    this.report('process_limit', scene, { alike, ...(process ? { process } : {}) })
  }

  onMemory(atMs: number, bytes: number, limitBytes: number): void {
    const told = this.memory.add(atMs, bytes, limitBytes)
    if (told) this.parts.log.append(told)
  }

  onFigures(figures: ResourceFigures): void {
    for (const { text, details } of this.resources.next(figures))
      this.parts.runner.logger.info({ ...this.parts.ref, ...details, source: 'sandbox' }, text)
  }

  onDisk({ usedBytes, totalBytes }: Scene['disk']): void {
    const pressing = isPressing(usedBytes, totalBytes, this.toldOfDisk)
    if (pressing && !this.toldOfDisk) this.parts.log.append({ type: 'sandbox.disk_pressure', usedBytes, totalBytes })
    this.toldOfDisk = pressing
  }

  onDiskFull(scene: Scene, writer: SceneProcess | undefined): void {
    this.report('disk_full', scene, writer ? { process: writer } : {})
  }

  onStarved(scene: Scene, share: number, cpu: CpuStarvation): void {
    this.report('cpu_starved', scene, { share, cpu })
  }

  agentEnded(exitCode: number): void {
    const box = this.box
    if (!box) return
    const pid = this.agentPid()
    // A status of a shell's: it was ended by a signal, which a fault of its own may have raised.
    const crash = pid !== undefined && exitCode > 128 ? box.crashOf(pid) : undefined
    this.report('agent_ended', box.scene(), { exitCode, ...(crash === undefined ? {} : { crash }) })
  }

  private silent(silentMs: number): void {
    const box = this.box
    const pid = this.agentPid()
    if (!box || pid === undefined) return
    this.report('agent_silent', box.scene(), {
      silentMs,
      waiting: box.waiting(pid),
      unanswered: box.unanswered(),
    })
  }

  private get box(): BlackBox | undefined {
    return this.sandbox?.blackBox
  }

  private get openCalls() {
    return [...this.calls.values()].filter(({ endedAtMs }) => endedAtMs === undefined)
  }

  private forgetEnded(): void {
    for (const [id, { endedAtMs }] of this.calls) if (endedAtMs !== undefined) this.calls.delete(id)
  }

  private blamedOf({ blamed }: MemoryLimitMet): Blamed | null {
    if (!blamed) return null
    const { startedAtMs, commands, ...rest } = blamed
    const call = blamed.isAgent ? undefined : owningCall({ commands, startedAtMs }, [...this.calls.values()])
    return { ...rest, ...(call ? { toolId: call.toolId } : {}) }
  }

  private tellProcesses(call: WatchedCall): void {
    const pid = call.agentPid ?? this.agentPid()
    if (pid === undefined || !this.box) return
    // An agent starts shells of its own beside them.
    const owned = ({ command, startedAtMs }: { command: string; startedAtMs: number }): boolean =>
      runsCommandOf(command, call) ||
      // A shell that was gone before its arguments could be read: the only call's at work then, if there is only one.
      (unseenShell.test(command) &&
        owningCall({ commands: [], startedAtMs }, [...this.calls.values()])?.toolId === call.toolId)
    const { processes, seen } = this.box.processesSince(call.startedAtMs, pid, owned)
    if (processes.length > 0) this.parts.log.append({ type: 'tool.processes', toolId: call.toolId, processes, seen })
  }

  private uncommitted() {
    return this.box?.uncommitted(this.committedAtMs) ?? { paths: [], more: 0 }
  }

  private report(
    trigger: Extract<EventBody, { type: 'sandbox.report' }>['trigger'],
    scene: Scene,
    more: Partial<Extract<EventBody, { type: 'sandbox.report' }>>,
  ): void {
    const toolIds = this.openCalls.map(({ toolId }) => toolId).slice(-10)
    this.parts.log.append({
      type: 'sandbox.report',
      trigger,
      scene,
      toolIds,
      uncommitted: this.uncommitted(),
      ...more,
    })
  }
}

/** What the host could give without harm to others; what is free where the kernel doesn't tell it. */
function availableBytes(): number {
  return hostMemory()?.availableBytes || freemem()
}
