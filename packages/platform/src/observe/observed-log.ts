import type { EventLog, EventScope } from '@vm0/backends'
import type { Vm0Event } from '@vm0/contract'

/** Is told of what becomes known of runs on this host, after it was taken into the log. What it throws is logged, and ends nothing. */
export interface RunObserver {
  event(scope: EventScope, event: Vm0Event): void
  /** The run has ended and its log is closed; where that doesn't tell the end (`told` is false), its row does. */
  ended(scope: EventScope, told: boolean): void
}

/** The log as the rest of the platform uses it, and observers that see each event as it is appended. */
export function observeLog(
  log: EventLog,
  observers: readonly RunObserver[],
  onError: (error: unknown) => void,
): EventLog {
  const tell = (act: (observer: RunObserver) => void): void => {
    for (const observer of observers) {
      try {
        act(observer)
      } catch (error) {
        onError(error)
      }
    }
  }
  return {
    ...log,
    async open(scope, epoch) {
      const writer = await log.open(scope, epoch)
      let hasEnded = false
      return {
        append(body, timeMs, origin) {
          const event = writer.append(body, timeMs, origin)
          tell((observer) => observer.event(scope, event))
          hasEnded ||= event.type === 'run.finished'
          return event
        },
        flush: () => writer.flush(),
        async close() {
          await writer.close()
          if (!hasEnded) return
          hasEnded = false
          tell((observer) => observer.ended(scope, true))
        },
      }
    },
    wake(scope) {
      log.wake(scope)
      tell((observer) => observer.ended(scope, false))
    },
  }
}
