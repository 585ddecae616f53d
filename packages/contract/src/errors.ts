import { errorTable, type ErrorCode } from './error-table.js'

export interface Vm0ErrorOptions {
  hint?: string
  details?: Record<string, unknown>
  cause?: unknown
  status?: number
  requestId?: string
  retryable?: boolean
}

/**
 * The one error class of the platform and of the SDK. `message` says what happened and what was expected.
 *
 * @example
 * try {
 *   await session.files.read('/nothing')
 * } catch (error) {
 *   if (error instanceof Vm0Error) console.log(error.code, error.message, error.hint)
 * }
 */
export class Vm0Error extends Error {
  override readonly name: string = 'Vm0Error'
  /**
   * Stable, such as `FILE_NOT_FOUND`: what to decide by.
   * @example if (error.code === 'FILE_NOT_FOUND') console.log('not there yet')
   */
  readonly code: ErrorCode
  /**
   * What to do, as a sentence for a person.
   * @example console.log(error.hint)
   */
  readonly hint: string
  /**
   * Whether the same may succeed later.
   * @example if (error.retryable) console.log('once more')
   */
  readonly retryable: boolean
  /**
   * HTTP status of the answer that told it, or that would.
   * @example console.log(error.status)
   */
  readonly status: number
  /**
   * What else is known, by name.
   * @example console.log(error.details)
   */
  readonly details: Record<string, unknown>
  /**
   * Id of the request in the server's log.
   * @example console.log(error.requestId)
   */
  readonly requestId: string | undefined

  /** @internal */
  constructor(code: ErrorCode, message: string, options: Vm0ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const entry = errorTable[code]
    this.code = code
    this.hint = options.hint ?? entry.hint
    this.retryable = options.retryable ?? entry.retryable
    this.status = options.status ?? entry.status
    this.details = options.details ?? {}
    this.requestId = options.requestId
  }

  /** @internal */
  get exitStatus(): number {
    return errorTable[this.code].exit
  }
}

/** Whatever was thrown, as a Vm0Error: unknown things become INTERNAL with the cause kept. */
export function toVm0Error(thrown: unknown, fallback: ErrorCode = 'INTERNAL'): Vm0Error {
  if (thrown instanceof Vm0Error || isFromOtherCopy(thrown)) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new Vm0Error(fallback, message, { cause: thrown })
}

/** The published `vm0` and `@vm0/platform` hold a copy of this class each: what one throws, the other catches. */
function isFromOtherCopy(thrown: unknown): thrown is Vm0Error {
  return thrown instanceof Error && thrown.name === 'Vm0Error' && isErrorCode((thrown as Partial<Vm0Error>).code)
}

/** RFC 9457 problem document with VM0's members. */
export interface ProblemDocument {
  type: string
  title: string
  status: number
  detail: string
  code: ErrorCode
  hint: string
  retryable: boolean
  requestId?: string
  details?: Record<string, unknown>
}

export function toProblem(error: Vm0Error, requestId?: string): ProblemDocument {
  return {
    type: `urn:vm0:error:${error.code}`,
    title: error.code,
    status: error.status,
    detail: error.message,
    code: error.code,
    hint: error.hint,
    retryable: error.retryable,
    ...(requestId ? { requestId } : {}),
    ...(Object.keys(error.details).length > 0 ? { details: error.details } : {}),
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorTable, value)
}
