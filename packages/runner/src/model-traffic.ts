import type { EventWriter } from '@vm0/backends'
import type { ModelTraffic } from '@vm0/gateway'
import type { ModelPatience } from './model-patience.js'

export interface TrafficObserver {
  log: EventWriter
  patience: ModelPatience
  /** The run's first request was told of before. */
  requested: boolean
  onFirstRequest(timeMs: number): void
  /** The key is the platform's: the agent can't mend it, but would try again for minutes. */
  onRefusedKey(): void
  /** What a model request asks; its answer waits for what this returns. */
  onBody(body: string): Promise<void> | undefined
}

/** A run's model requests as its events, and what follows from how they go. */
export function observeTraffic({
  log,
  patience,
  requested,
  onFirstRequest,
  onRefusedKey,
  onBody,
}: TrafficObserver): ModelTraffic {
  return {
    onRequest: ({ method, path, timeMs }) => {
      const first = !requested && isMessage(path)
      if (first) onFirstRequest(timeMs)
      if (isMessage(path)) {
        requested = true
        patience.requested()
      }
      log.append({ type: 'model.request', method, path, first }, timeMs)
    },
    onBody: ({ path, body }) => (isMessage(path) ? onBody(body) : undefined),
    onFirstByte: () => undefined,
    onProgress: () => patience.progressed(),
    onEnd: ({ path, status, timeMs, durationMs, failure }) => {
      if (isMessage(path)) patience.ended(status, failure)
      log.append({ type: 'model.response', path, httpStatus: status, durationMs }, timeMs)
      if (status === 401) onRefusedKey()
    },
  }
}

/** Asks for an answer, not for a count or a list. */
function isMessage(path: string): boolean {
  return /^\/v1\/messages(\?|$)/.test(path)
}
