export interface Timed<T> {
  timeMs: number
  value: T
}

export interface MergeOptions {
  /**
   * How long what came from one is held back while the other may still have something earlier; 0 where both are complete, and
   * the other is waited for.
   */
  holdMs: number
  now(): number
  /** Resolves after so many milliseconds. */
  sleep(ms: number): Promise<void>
}

/**
 * Two sequences as one, by time. Each stays in its own order, which is what happened: where its times go back a little, the
 * latest counts.
 */
export async function* mergeByTime<A, B>(
  first: AsyncIterator<Timed<A>>,
  second: AsyncIterator<Timed<B>>,
  { holdMs, now, sleep }: MergeOptions,
): AsyncGenerator<A | B> {
  const sides: [Side<A | B>, Side<A | B>] = [new Side<A | B>(first), new Side<A | B>(second)]
  try {
    yield* merged(sides, { holdMs, now, sleep })
  } finally {
    // Not waited for: one that waits for more ends when its signal says so.
    for (const source of [first, second]) void source.return?.().catch(() => undefined)
  }
}

async function* merged<T>(sides: [Side<T>, Side<T>], { holdMs, now, sleep }: MergeOptions): AsyncGenerator<T> {
  for (;;) {
    for (const side of sides) side.ask(now())
    const [one, other] = sides
    // What both have been asked for is needed to tell which is earlier; a live one may have nothing for long.
    while (!one.isKnown || !other.isKnown) {
      const waiting = sides.filter((side) => !side.isKnown).map((side) => side.asked)
      const head = one.head ?? other.head
      if (!head || holdMs === 0) await Promise.race(waiting)
      else {
        // Who was asked a moment ago may just not have answered yet: what it has may be older than all that is live.
        const askedMs = one.head ? other.askedMs : one.askedMs
        const leftMs = Math.max(head.timeMs, askedMs) + holdMs - now()
        if (leftMs <= 0) break
        await Promise.race([...waiting, sleep(leftMs)])
      }
    }
    const [a, b] = [one.head, other.head]
    if (!a && !b) {
      if (one.isDone && other.isDone) return
      continue
    }
    const side = !b || (a && a.timeMs <= b.timeMs) ? one : other
    yield side.take()
  }
}

/** One sequence, with what comes next of it. */
class Side<T> {
  head: Timed<T> | undefined
  isDone = false
  asked: Promise<void> | undefined
  askedMs = 0
  private latestMs = -Infinity

  constructor(private readonly source: AsyncIterator<Timed<T>>) {}

  get isKnown(): boolean {
    return this.isDone || this.head !== undefined
  }

  ask(nowMs: number): void {
    if (this.isKnown || this.asked) return
    this.askedMs = nowMs
    this.asked = this.source.next().then(({ value, done }) => {
      this.asked = undefined
      if (done) this.isDone = true
      else {
        this.latestMs = Math.max(this.latestMs, value.timeMs)
        this.head = { timeMs: this.latestMs, value: value.value }
      }
    })
    // Told where it is waited for.
    this.asked.catch(() => undefined)
  }

  take(): T {
    const { value } = this.head as Timed<T>
    this.head = undefined
    return value
  }
}
