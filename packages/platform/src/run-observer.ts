import type { EventScope } from '@vm0/backends'
import type { Vm0Event } from '@vm0/contract'

/** Is told of what becomes known of runs on this host, after it was taken into the log. What it throws is logged, and ends nothing. */
export interface RunObserver {
  event(scope: EventScope, event: Vm0Event): void
  /** The run has ended and its log is closed; where that doesn't tell the end (`told` is false), its row does. */
  ended(scope: EventScope, told: boolean): void
}
