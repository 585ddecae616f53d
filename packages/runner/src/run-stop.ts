import { Vm0Error } from '@vm0/contract'
import type { LiveAgent } from './live-agent.js'
import type { ModelFailure } from './model-patience.js'
import { endingOfStop, type Ending, type StopReason } from './run-endings.js'

/** How long an agent may take to end its turn after an interrupt. */
const interruptGraceMs = 5_000

/** Whether VM0 itself ends a run, and why. */
export class RunStop {
  private reason: StopReason | undefined
  private killTimer: NodeJS.Timeout | undefined
  private readonly stopped = new AbortController()
  timeoutMs: number | undefined
  modelFailure: ModelFailure | undefined
  /** What is told of the reason. */
  message: string | undefined

  get why(): StopReason | undefined {
    return this.reason
  }

  get signal(): AbortSignal {
    return this.stopped.signal
  }

  begin(why: StopReason): void {
    this.reason = why
    this.stopped.abort()
  }

  /** Ends an agent that doesn't end its turn by itself. */
  killAfterGrace({ process }: LiveAgent): void {
    this.killTimer = setTimeout(() => void process.kill('SIGKILL'), interruptGraceMs)
  }

  /** Throws where the run is to end before its prompt was sent. */
  check(): void {
    if (!this.reason) return
    const code = this.reason === 'cancel' ? 'CANCELLED' : 'TIMED_OUT'
    throw new Vm0Error(code, 'the run was stopped before its prompt was sent')
  }

  ending(completed: boolean): Ending | undefined {
    return endingOfStop(this.reason, this.timeoutMs, completed, this)
  }

  close(): void {
    clearTimeout(this.killTimer)
  }
}
