import type { EventLog, EventScope, EventWriter } from '@vm0/backends'
import type { RunObserver } from '../run-observer.js'

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
  const observed = (scope: EventScope, writer: EventWriter): EventWriter => {
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
  }
  return {
    ...log,
    begin: (scope, epoch) => observed(scope, log.begin(scope, epoch)),
    open: async (scope, epoch) => observed(scope, await log.open(scope, epoch)),
    wake(scope) {
      log.wake(scope)
      tell((observer) => observer.ended(scope, false))
    },
  }
}
