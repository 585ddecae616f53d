import { Vm0Error } from '@vm0/contract'
import type { Principal } from './principal.js'

interface Open {
  keyId: string
  end: AbortController
}

/** The event streams that are open here: so many per key, and ended with it. */
export class Streams {
  private readonly open = new Map<string, Set<Open>>()

  constructor(private readonly maxPerKey: number) {}

  /** Counts a stream; its signal aborts when the key is revoked. */
  add({ accountId, keyId }: Principal): { signal: AbortSignal; close(): void } {
    const mine = this.open.get(accountId) ?? new Set()
    if (mine.size >= this.maxPerKey)
      throw new Vm0Error(
        'RATE_LIMITED',
        `the key has ${mine.size} event streams open; expected at most ${this.maxPerKey} at a time`,
        { details: { retryAfterMs: 1_000 } },
      )
    const stream: Open = { keyId, end: new AbortController() }
    this.open.set(accountId, mine.add(stream))
    return {
      signal: stream.end.signal,
      close: () => {
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
