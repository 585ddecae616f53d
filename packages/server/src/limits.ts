import { LRUCache } from 'lru-cache'

/** What one key or project may take of a server. */
export interface Limits {
  /** Requests of one key: sustained, and how many may come at once after a rest. */
  requestsPerSecond: number
  requestBurst: number
  /** Event streams that one key has open at a time. */
  eventStreams: number
  /** Runs of one project that wait to start. */
  queuedRuns: number
}

export const defaultLimits: Limits = {
  requestsPerSecond: 200,
  requestBurst: 1_000,
  eventStreams: 500,
  queuedRuns: 1_000,
}

export interface Bucket {
  tokens: number
  atMs: number
}

/** Takes one token of a bucket that fills up at a steady rate; `waitMs` is 0, or when the next one will be there. */
export function take(
  bucket: Bucket | undefined,
  { requestsPerSecond, requestBurst }: Pick<Limits, 'requestsPerSecond' | 'requestBurst'>,
  nowMs: number,
): { bucket: Bucket; waitMs: number } {
  const before = bucket ?? { tokens: requestBurst, atMs: nowMs }
  const gained = (Math.max(0, nowMs - before.atMs) / 1000) * requestsPerSecond
  const tokens = Math.min(requestBurst, before.tokens + gained)
  const atMs = Math.max(nowMs, before.atMs)
  return tokens >= 1
    ? { bucket: { tokens: tokens - 1, atMs }, waitMs: 0 }
    : { bucket: { tokens, atMs }, waitMs: Math.ceil(((1 - tokens) / requestsPerSecond) * 1000) }
}

/** The buckets of the keys that asked of late: one that is forgotten would be full again by then. */
export class RequestRate {
  private readonly buckets = new LRUCache<string, Bucket>({ max: 10_000 })

  constructor(private readonly limits: Limits) {}

  /** 0 when the request may pass, else the milliseconds until one may. */
  take(accountId: string, nowMs = performance.now()): number {
    const { bucket, waitMs } = take(this.buckets.get(accountId), this.limits, nowMs)
    this.buckets.set(accountId, bucket)
    return waitMs
  }
}
