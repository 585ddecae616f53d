import type { RunContext } from './run-context.js'

const tickMs = 1_000
/** From here on a run is told; again only when there was less than that meanwhile. */
const tellAt = 0.9
const forgetAt = 0.8

/** Whether somebody is to be told of how full something is, who was told of it before or not. */
export function isPressing(used: number, total: number, wasTold: boolean): boolean {
  return used >= total * (wasTold ? forgetAt : tellAt)
}

/**
 * Tells a run early that the disk of its sandbox, or what its project may store, is nearly used up. It ends nothing: a
 * full disk is told to who writes, and a run at work is saved whatever the quota says.
 */
export class StorageWatch {
  private readonly timer: NodeJS.Timeout
  private looking: Promise<void> | undefined
  private told = { disk: false, quota: false }
  private closed = false
  private begun = false

  constructor(private readonly context: RunContext) {
    context.session.onCommitted = () => void this.lookAtQuota()
    this.timer = setInterval(() => {
      this.looking ??= this.lookAtDisk().finally(() => (this.looking = undefined))
      this.begin()
    }, tickMs).unref()
  }

  /** Looks at the quota for the first time: once the model has been asked, or a little later where it is not. */
  begin(): void {
    if (this.begun) return
    this.begun = true
    void this.lookAtQuota()
  }

  close(): void {
    this.closed = true
    clearInterval(this.timer)
    this.context.session.onCommitted = undefined
  }

  private async lookAtDisk(): Promise<void> {
    const { session, log } = this.context
    // One that has just ended has nothing to tell.
    const stats = await session.sandbox?.stats().catch(() => undefined)
    if (!stats || this.closed) return
    const { diskUsedBytes: usedBytes, diskTotalBytes: totalBytes } = stats
    const pressing = isPressing(usedBytes, totalBytes, this.told.disk)
    if (pressing && !this.told.disk) log.append({ type: 'sandbox.disk_pressure', usedBytes, totalBytes })
    this.told.disk = pressing
  }

  private async lookAtQuota(): Promise<void> {
    const { store, ref, log, runner } = this.context
    try {
      const stored = await store.storageUnderQuota(ref)
      if (!stored || this.closed) return
      const pressing = isPressing(stored.storedBytes, stored.quotaBytes, this.told.quota)
      if (pressing && !this.told.quota) log.append({ type: 'project.quota_pressure', ...stored })
      this.told.quota = pressing
    } catch (error) {
      runner.logger.warn({ runId: ref.runId, error }, 'what the project stores could not be read')
    }
  }
}
