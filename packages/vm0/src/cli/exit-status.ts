import { errorTable, isErrorCode, type RunView } from '@vm0/contract/client'

/** Exit status of the command for a run's end. */
export function exitStatus(run: RunView): number {
  if (run.state === 'succeeded') return 0
  if (run.state === 'cancelled') return 5
  if (run.state === 'failed')
    return run.error && isErrorCode(run.error.code) && errorTable[run.error.code].exit === 6 ? 6 : 3
  return run.reason === 'out_of_memory' ? 4 : 6
}
