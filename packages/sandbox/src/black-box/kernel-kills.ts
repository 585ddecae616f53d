import { setTimeout as wait } from 'node:timers/promises'
import type { Scene } from '@vm0/contract'
import { statOf, type ProcessEntry, type ProcessTable } from './process-table.js'
import { largest } from './scenes.js'
import type { SandboxWatcher } from './types.js'

const endsWithinMs = 1_000
const shownVictims = 3

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
      const victims = await this.victimsAmong(before, scene.memory.limitBytes)
      watcher?.onKernelKill?.(scene, largest(victims, Date.now()).slice(0, Math.min(risen, shownVictims)), oomKills)
    }
    this.telling = (this.telling ?? Promise.resolve()).then(tell).catch(() => undefined)
  }

  /** All that was counted is told. */
  async settled(): Promise<void> {
    await this.telling
  }

  /** Which of them the kernel has taken isn't told, and a large one takes a moment to be gone. */
  private async victimsAmong(before: readonly ProcessEntry[], limitBytes: number): Promise<ProcessEntry[]> {
    const isGone = ({ pid, startTicks }: ProcessEntry): boolean => statOf(pid)?.startTicks !== startTicks
    const isLarge = ({ rssBytes }: ProcessEntry): boolean => rssBytes > limitBytes / 8
    const deadline = performance.now() + endsWithinMs
    let victims = before.filter(isGone)
    for (; !victims.some(isLarge) && performance.now() < deadline; victims = before.filter(isGone)) await wait(20)
    return victims.map((entry) => ({ ...entry, ended: true }))
  }
}
