import type { ErrorCode } from '@vm0/contract'

export interface ModelFailure {
  code: Extract<ErrorCode, 'AGENT_START_FAILED' | 'MODEL_RATE_LIMITED' | 'MODEL_FAILED'>
  message: string
  details?: { httpStatus: number }
}

/**
 * How long a run goes on while its model gives nothing. Agents try again by themselves, each in its own way, and one whose
 * request hangs waits as long as its own limit says. The clock runs from the prompt, and from each request, until a piece
 * of a good answer comes, through all failures and pauses between them.
 */
export class ModelPatience {
  private timer: NodeJS.Timeout | undefined
  private open = 0
  private asked = false
  private last: { status: number; failure: string | undefined } | undefined

  constructor(
    private readonly limitMs: number,
    private readonly onExhausted: (failure: ModelFailure) => void,
  ) {}

  prompted(): void {
    this.start()
  }

  requested(): void {
    this.asked = true
    this.open += 1
    this.start()
  }

  progressed(): void {
    this.last = undefined
    this.timer?.refresh()
  }

  ended(status: number, failure: string | undefined): void {
    this.open -= 1
    if (status < 300 && failure === undefined) {
      if (this.open === 0) this.close()
    } else {
      this.last = { status, failure }
      this.start()
    }
  }

  close(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private start(): void {
    this.timer ??= setTimeout(() => this.onExhausted(this.failure()), this.limitMs)
  }

  private failure(): ModelFailure {
    const { status, failure } = this.last ?? {}
    const seconds = Math.round(this.limitMs / 100) / 10
    if (!this.asked)
      return { code: 'AGENT_START_FAILED', message: `the agent asked its model for nothing within ${seconds} s` }
    const why = failure ?? (status === undefined ? 'it did not go on' : `its last answer had the status ${status}`)
    return {
      code: status === 429 ? 'MODEL_RATE_LIMITED' : 'MODEL_FAILED',
      message: `the model endpoint gave nothing of use for ${seconds} s: ${why}`,
      ...(status === undefined ? {} : { details: { httpStatus: status } }),
    }
  }
}
