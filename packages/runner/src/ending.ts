import { errorTable, type ErrorCode } from '@vm0/contract'
import type { RunEnd } from './store.js'

export type Ending = Pick<RunEnd, 'state' | 'reason' | 'error'>

/** The ending of a run that did not succeed, with the hint of its code. */
export function failure(
  state: Ending['state'],
  reason: string,
  code: ErrorCode,
  message: string,
  details: Record<string, unknown> = {},
): Ending {
  const error = { code, message, hint: errorTable[code].hint }
  return { state, reason, error: Object.keys(details).length > 0 ? { ...error, details } : error }
}
