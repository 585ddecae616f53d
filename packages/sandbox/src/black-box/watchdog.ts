import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/**
 * A sandbox that is held at its memory limit stays held for as long as nobody decides. This process outlives the platform's: it
 * reads what only that one can write to, and when the kernel closes it, lets go of every sandbox: the kernel acts as it always
 * does. It has a session of its own, so that no terminal's signal ends it.
 */
const script = `trap '' INT TERM HUP; while read -r _; do :; done
for file in $1; do echo "$2" >"$file"; done 2>/dev/null; :`

const respawnMs = 1_000

export class Watchdog {
  private child: ChildProcess | undefined
  private ended: Promise<unknown> = Promise.resolve()
  private closed = false
  private timer: NodeJS.Timeout | undefined

  /** `pattern`: of the files that hold a sandbox, for a shell; `released`: what lets go of it. */
  constructor(
    private readonly pattern: string,
    private readonly released: string,
  ) {}

  async start(): Promise<void> {
    const child = spawn('sh', ['-c', script, 'vm0-watchdog', this.pattern, this.released], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.child = child
    child.stdin.on('error', () => undefined)
    this.ended = once(child, 'exit').catch(() => undefined)
    void this.ended.then(() => {
      if (this.closed) return
      // Somebody has ended it: without it nothing may be held.
      this.timer = setTimeout(() => void this.start().catch(() => undefined), respawnMs)
      this.timer.unref()
    })
    await once(child, 'spawn')
    child.unref()
    ;(child.stdin as unknown as { unref?: () => void }).unref?.()
  }

  /** Lets go of what is held. */
  async close(): Promise<void> {
    this.closed = true
    clearTimeout(this.timer)
    // Its end is waited for, also where nothing else keeps this process.
    this.child?.ref()
    this.child?.stdin?.end()
    await this.ended
  }
}
