import { ExitFeed } from './exits/index.js'

/** Something that is to be looked at again and again, each time after the pause that it asks for. */
export interface Recorded {
  /** Milliseconds until the next look. */
  look(): number
}

/** Looks at all sandboxes of a host by one timer. Those that are frozen are left out: nothing happens in them. */
export class Recorder {
  /** How processes end; it is heard while there is something to look at. */
  readonly exits = new ExitFeed()
  private readonly due = new Map<Recorded, number>()
  private timer: NodeJS.Timeout | undefined
  private timerMs = Infinity

  add(recorded: Recorded): void {
    this.exits.listen()
    this.due.set(recorded, performance.now())
    this.plan()
  }

  remove(recorded: Recorded): void {
    this.due.delete(recorded)
    if (this.due.size === 0) this.exits.stop()
  }

  /** Something has happened: it is looked at now. */
  wake(recorded: Recorded): void {
    if (this.due.has(recorded)) this.add(recorded)
  }

  close(): void {
    clearTimeout(this.timer)
    this.due.clear()
    this.exits.stop()
  }

  private plan(): void {
    const next = Math.min(...this.due.values())
    if (next >= this.timerMs) return
    clearTimeout(this.timer)
    this.timerMs = next
    if (next === Infinity) return
    this.timer = setTimeout(() => this.tick(), Math.max(0, next - performance.now()))
    this.timer.unref()
  }

  private tick(): void {
    this.timerMs = Infinity
    const now = performance.now()
    this.exits.drain()
    for (const [recorded, due] of this.due) {
      if (due > now + 5) continue
      const pauseMs = recorded.look()
      if (this.due.has(recorded)) this.due.set(recorded, together(now + pauseMs, pauseMs))
    }
    this.plan()
  }
}

/** Waking up costs more than a look: looks that aren't urgent fall on the same moments. */
function together(dueMs: number, pauseMs: number): number {
  const gridMs = pauseMs >= 1_000 ? 1_000 : pauseMs >= 250 ? 250 : 1
  return Math.ceil(dueMs / gridMs) * gridMs
}
