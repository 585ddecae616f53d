import type { Blamed, CpuStarvation, Scene, SceneProcess, ToolProcess, Uncommitted } from '@vm0/contract'

/** A process of the tree that used the memory up, and what can be done. */
export interface MemoryLimitMet {
  scene: Scene
  /** Undefined where the sandbox has no process that could be to blame. */
  blamed: (Omit<Blamed, 'toolId'> & { startedAtMs: number; commands: readonly string[] }) | undefined
  /** Ends what is to blame; resolves when it is gone. */
  stop(): Promise<void>
  /** Lets it go on with another limit. */
  raise(limitBytes: number): Promise<void>
}

export interface ResourceFigures {
  atMs: number
  memoryBytes: number
  limitBytes: number
  /** How long its tasks were kept from running because their CPU time was used up, in total. */
  throttledMs: number
  /** Percent of the last ten seconds in which some, or all, waited; null where the kernel doesn't tell. */
  pressure: Record<'memory' | 'cpu' | 'io', { some: number; full: number }> | null
}

/** Whoever wants to know what happens in a sandbox: the run that is at work in it. Who holds it decides about its memory; the rest is told to who asks. */
export interface SandboxWatcher {
  /** The host's id of the agent's process. */
  agentPid(): number | undefined
  /** Its processes are wanted as they come and go: a tool call is at work. */
  wantsProcesses(): boolean
  /** Nothing in it goes on until this has resolved. */
  onMemoryLimit(met: MemoryLimitMet): Promise<void>
  /** The kernel has killed in it for want of memory, as it does where nothing holds it. */
  onKernelKill?(scene: Scene, victims: readonly SceneProcess[], oomKills: number): void
  /** A new process was refused, for the first time in this run; `alike` of the processes have the command of this one. */
  onProcessLimit?(scene: Scene, process: SceneProcess | undefined, alike: number): void
  /** What it has in use, of how much, at every look. */
  onMemory?(atMs: number, bytes: number, limitBytes: number): void
  /** How its resources stand, about once a second while it works. */
  onFigures?(figures: ResourceFigures): void
  /** How full its disk is, after it has worked. */
  onDisk?(disk: Scene['disk']): void
  /** Its disk was filled up; `writer` has written most. */
  onDiskFull?(scene: Scene, writer: SceneProcess | undefined): void
  /** It has waited for CPU time for this part of the last half minute, or of a shorter run. */
  onStarved?(scene: Scene, share: number, how: CpuStarvation): void
}

/** What a process waits for, as the kernel names the place. */
export interface WaitingProcess {
  process: SceneProcess
  place: string
}

export interface OwnedChild {
  command: string
  startedAtMs: number
}

export interface SeenProcesses {
  processes: ToolProcess[]
  seen: number
}

export interface LiveFigures {
  memoryBytes: number
  memoryLimitBytes: number
  /** Of one CPU. */
  cpuShare: number
  processes: number
  /** Over its network link since it began. */
  sentBytes: number
  receivedBytes: number
}

/** The recorder of one sandbox, on the host. What it kept goes with the sandbox. */
export interface BlackBox {
  /**
   * One watcher at a time; gives back what ends it. `oomKills`: how many of the kernel's kills it has been told of; without it
   * those up to now.
   */
  watch(watcher: SandboxWatcher, oomKills?: number): () => void
  /** Once this resolves, what the kernel's counters tell up to now has been told: what happens last in a run is not lost. */
  settle(): Promise<void>
  /** Something begins in it: it is looked at now, and not only when its turn comes. */
  wake(): void
  /** How things stand now, or stood when the sandbox was seen last. */
  scene(): Scene
  figures(): LiveFigures
  /**
   * The descendants of a process that have begun since then, of those children that are `owned`; `seen` counts what is left
   * out of them too.
   */
  processesSince(ms: number, ancestor: number, owned: (child: OwnedChild) => boolean): SeenProcesses
  /** The descendants of a process, with what each waits for. */
  waiting(ancestor: number): WaitingProcess[]
  /** What the kernel wrote of a process as it crashed. */
  crashOf(pid: number): string | undefined
  /** Connections to where nobody answers, as `address:port`. */
  unanswered(): string[]
  /** Files of /workspace that were changed since then, within bounds on the work. */
  uncommitted(sinceMs: number): Uncommitted
}
