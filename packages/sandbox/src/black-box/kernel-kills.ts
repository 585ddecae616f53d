import { setTimeout as wait } from 'node:timers/promises'
import type { Scene } from '@vm0/contract'
import { statOf, type ProcessEntry, type ProcessTable } from './process-table.js'
import { largest } from './scenes.js'
import type { SandboxWatcher } from './types.js'

const endsWithinMs = 1_000
const shownVictims = 3
const slackMs = 250

/**
 * What the kernel has killed in a sandbox for want of memory. Its own count is the evidence: it is compared at every look and
 * once more at the end, and whoever watched when it rose is told, even where the watch ends meanwhile.
 */
export class KernelKills {
  private told = 0
  private telling: Promise<void> | undefined

  constructor(
    private readonly table: ProcessTable,
    private readonly scene: () => Scene,
    /** Whether the kernel tells how processes end; a look that has all of them that have ended before. */
    private readonly ends: { isTold(): boolean; look(): void },
  ) {}

  /** Another run watches, to which so many have been told. */
  reset(told: number): void {
    this.told = told
  }

  /** `sinceMs`: when the processes were looked at last before the count was what it was told to be. */
  counted(oomKills: number, sinceMs: number, watcher: SandboxWatcher | undefined): void {
    if (oomKills <= this.told) return
    const risen = oomKills - this.told
    this.told = oomKills
    const before = [...this.table.processes, ...this.table.since(sinceMs).filter(({ ended }) => ended)]
    const scene = this.scene()
    const tell = async (): Promise<void> => {
      const ended = this.ends.isTold()
        ? await until(
            () => this.killedSince(sinceMs),
            ({ length }) => length >= risen,
          )
        : await until(
            () => goneOf(before, scene.memory.limitBytes),
            ({ length }) => length > 0,
          )
      const victims = largest(ended, Date.now()).slice(0, Math.min(risen, shownVictims))
      watcher?.onKernelKill?.(scene, victims, oomKills)
    }
    this.telling = (this.telling ?? Promise.resolve()).then(tell).catch(() => undefined)
  }

  /** All that was counted is told. */
  async settled(): Promise<void> {
    await this.telling
  }

  /** The kernel kills by SIGKILL; what else is ended so is as a rule smaller than what it chooses. */
  private killedSince(ms: number): ProcessEntry[] {
    this.ends.look()
    return this.table.since(ms - slackMs).filter(({ end }) => end?.signal === 'SIGKILL')
  }
}

/** Where it isn't told how processes end: of those that are gone, what the kernel may have chosen. */
function goneOf(before: readonly ProcessEntry[], limitBytes: number): ProcessEntry[] {
  return before
    .filter(({ rssBytes }) => rssBytes > limitBytes / 8)
    .filter(({ pid, startTicks }) => statOf(pid)?.startTicks !== startTicks)
    .map((entry) => ({ ...entry, ended: true }))
}

/** A large process takes a moment to be gone. */
async function until(
  look: () => ProcessEntry[],
  isEnough: (found: ProcessEntry[]) => boolean,
): Promise<ProcessEntry[]> {
  const deadline = performance.now() + endsWithinMs
  let found = look()
  for (; !isEnough(found) && performance.now() < deadline; found = look()) await wait(20)
  return found
}
