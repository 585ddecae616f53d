import { Vm0Error } from '@vm0/contract'
import type { Principal } from './principal.js'

/** What a timer can wait: a stream that is open for longer looks at its key from time to time anyway. */
const maxTimerMs = 2 ** 31 - 1

interface Open {
  keyId: string
  end: AbortController
}

/** The event streams that are open here: so many per key, and ended with it. */
export class Streams {
  private readonly open = new Map<string, Set<Open>>()

  constructor(private readonly maxPerKey: number) {}

  /** Counts a stream; its signal aborts when the key is revoked or ends. */
  add({ accountId, keyId, expiresAtMs }: Principal): { signal: AbortSignal; close(): void } {
    const mine = this.open.get(accountId) ?? new Set()
    if (mine.size >= this.maxPerKey)
      throw new Vm0Error(
        'RATE_LIMITED',
        `the key has ${mine.size} event streams open; expected at most ${this.maxPerKey} at a time`,
        { details: { retryAfterMs: 1_000 } },
      )
    const stream: Open = { keyId, end: new AbortController() }
    this.open.set(accountId, mine.add(stream))
    const leftMs = expiresAtMs === null ? Infinity : Math.max(0, expiresAtMs - Date.now())
    const timer = leftMs < maxTimerMs ? setTimeout(() => stream.end.abort(), leftMs).unref() : undefined
    return {
      signal: stream.end.signal,
      close: () => {
        clearTimeout(timer)
        mine.delete(stream)
        if (mine.size === 0 && this.open.get(accountId) === mine) this.open.delete(accountId)
      },
    }
  }

  /** Ends the streams of keys and tokens that are valid no longer. */
  end(keyIds: readonly string[]): void {
    const ended = new Set(keyIds)
    for (const streams of this.open.values()) for (const { keyId, end } of streams) if (ended.has(keyId)) end.abort()
  }
}
