import type { LostProcesses, SessionRef } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import type { RunnerStore } from './store.js'

/** So many are named; who has more has them from one program. */
const named = 50

/**
 * Processes don't survive their sandbox. Those that a session had beside its agent when the sandbox was given up are named in
 * its row, and told to the next run that has another sandbox.
 */
export class LostProcessRecord {
  private last: LostProcesses | null = null
  private told = true

  constructor(
    private readonly ref: SessionRef,
    private readonly store: RunnerStore,
  ) {}

  /** The session has a new sandbox; this is what its row says of the one before. */
  opened(recorded: LostProcesses | null): void {
    this.last = recorded
    this.told = recorded === null
  }

  /** Before a sandbox is given up; what has ended by then can't be named. */
  async record(sandbox: Sandbox, epoch: number): Promise<void> {
    const all = await sandbox.processes().catch(() => [])
    const lost =
      all.length === 0 ? null : { at: new Date().toISOString(), processes: all.slice(0, named), count: all.length }
    if (lost === null && this.last === null) return
    this.last = lost
    await this.store.recordLostProcesses(this.ref, epoch, lost)
  }

  /** What is to be told to the run that is in the sandbox now, once. */
  take(): LostProcesses | undefined {
    if (this.told) return undefined
    this.told = true
    return this.last ?? undefined
  }
}
