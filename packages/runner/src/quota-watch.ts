import { isPressing } from './pressing.js'
import type { RunContext } from './run-context.js'

/**
 * Tells a run early that what its project may store is nearly used up. It ends nothing: a run at work is saved whatever the
 * quota says.
 */
export class QuotaWatch {
  private told = false
  private closed = false

  constructor(private readonly context: RunContext) {
    context.session.onCommitted = () => void this.look()
  }

  close(): void {
    this.closed = true
    this.context.session.onCommitted = undefined
  }

  async look(): Promise<void> {
    const { store, ref, log, runner } = this.context
    try {
      const stored = await store.storageUnderQuota(ref)
      if (!stored || this.closed) return
      const pressing = isPressing(stored.storedBytes, stored.quotaBytes, this.told)
      if (pressing && !this.told) log.append({ type: 'project.quota_pressure', ...stored })
      this.told = pressing
    } catch (error) {
      runner.logger.warn({ ...ref, error }, 'what the project stores could not be read')
    }
  }
}
