import {
  isErrorCode,
  noTimings,
  noUsage,
  Vm0Error,
  type Outcome,
  type RunView,
  type Timings,
  type Usage,
} from '@vm0/contract/client'
import type { Session } from './session.js'

/**
 * What went wrong: a code of the errors page, what happened, and what to do.
 *
 * @example
 * const { error } = await vm0.run({ prompt: 'say hello', framework: 'no-such-agent' }).result()
 * console.log(error?.code, error?.hint)
 */
export interface RunFailure {
  code: string
  message: string
  hint: string
  details?: Record<string, unknown> | undefined
}

/**
 * How a run ended and what it gave.
 *
 * @example
 * const { text, costUsd } = await vm0.run({ prompt: 'say hello' })
 */
export interface RunResult {
  /** `succeeded`, `failed`, `cancelled` or `died`. */
  outcome: Outcome
  /** Why it didn't succeed, such as `timed_out` or `out_of_memory`; null when it did. */
  reason: string | null
  /** The agent's last message. */
  text: string
  /** What the run gave in the form that `output` asked for; null without. */
  output: unknown
  /** Tokens of all requests of this run. */
  usage: Usage
  /** US dollars, as the agent counts them. */
  costUsd: number
  /** Milliseconds from the call to each point; null for those it didn't reach. */
  timings: Timings
  /** Id of the checkpoint that holds what the run left; null when nothing was saved. */
  checkpoint: string | null
  /** What went wrong; null when the run succeeded. */
  error: RunFailure | null
  /** The session, to go on with. Of a run that was picked up by its id, and that the server did not tell of, it throws NOT_READY. */
  session: Session
}

/**
 * A run that didn't succeed, thrown by `await run`; `result` holds what there is. A run that could not be created, or
 * whose server could not be asked, is told by it too: `cause` is then the error of the request.
 *
 * @example
 * try {
 *   await vm0.run({ prompt: 'say hello', limits: { timeoutMs: 1 } })
 * } catch (error) {
 *   if (error instanceof RunError) console.log(error.outcome, error.reason, error.hint)
 * }
 */
export class RunError extends Vm0Error {
  override readonly name = 'RunError'

  /** @internal */
  constructor(
    /**
     * What the run gave until then.
     *
     * @example
     * const error = await vm0.run({ prompt: 'say hello', limits: { timeoutMs: 1 } }).then(() => undefined, (e) => e)
     * if (error instanceof RunError) console.log(error.result.costUsd)
     */
    readonly result: RunResult,
    cause?: Vm0Error,
  ) {
    const { code, message, hint, details } = result.error ?? {
      code: 'INTERNAL',
      message: `the run ended as ${result.outcome}`,
      hint: 'Read the end of `vm0 logs`.',
    }
    super(isErrorCode(code) ? code : 'INTERNAL', message, {
      hint,
      ...(details ? { details } : {}),
      ...(cause ? { cause, status: cause.status, retryable: cause.retryable } : {}),
      ...(cause?.requestId ? { requestId: cause.requestId } : {}),
    })
  }

  /**
   * `failed`, `cancelled` or `died`.
   *
   * @example
   * const error = await vm0.run({ prompt: 'say hello', limits: { timeoutMs: 1 } }).then(() => undefined, (e) => e)
   * if (error instanceof RunError && error.outcome === 'died') console.log('once more')
   */
  get outcome(): Outcome {
    return this.result.outcome
  }

  /**
   * Why, such as `timed_out`, `model_rate_limited` or `out_of_memory`.
   *
   * @example
   * const error = await vm0.run({ prompt: 'say hello', limits: { timeoutMs: 1 } }).then(() => undefined, (e) => e)
   * if (error instanceof RunError && error.reason === 'timed_out') console.log('too short a limit')
   */
  get reason(): string | null {
    return this.result.reason
  }
}

/** The result of a run that has ended. */
export function resultOf(view: RunView, session: Session): RunResult {
  const { state, reason, text, output, usage, costUsd, timings, checkpoint, error } = view
  return {
    outcome: state as Outcome,
    reason,
    text: text ?? '',
    output,
    usage,
    costUsd,
    timings,
    checkpoint,
    error,
    session,
  }
}

/** The result of a run that could not be created, or not be asked for. */
export function resultOfFailure(error: Vm0Error, session: () => Session): RunResult {
  const { code, message, hint, details } = error
  return {
    outcome: code === 'CANCELLED' ? 'cancelled' : 'failed',
    reason: code.toLowerCase(),
    text: '',
    output: null,
    usage: { ...noUsage },
    costUsd: 0,
    timings: { ...noTimings },
    checkpoint: null,
    error: { code, message, hint, details },
    // Of a run that was picked up by its id, and whose server can't be asked, it isn't known.
    get session() {
      return session()
    },
  }
}
