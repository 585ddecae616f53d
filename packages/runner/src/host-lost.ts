import { errorTable } from '@vm0/contract'
import type { RunEnd } from './store.js'

export function hostLost(message: string): NonNullable<RunEnd['error']> {
  return { code: 'HOST_LOST', message, hint: errorTable.HOST_LOST.hint }
}

/** The end of a run that was at work when the platform was told to stop: its work until then is saved all the same. */
export function platformStopped(): Pick<RunEnd, 'state' | 'reason' | 'error'> {
  return {
    state: 'died',
    reason: 'platform_stopped',
    error: hostLost('the platform was stopped while this run was at work'),
  }
}
