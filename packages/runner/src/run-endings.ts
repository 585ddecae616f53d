import { errorTable, type ErrorCode, Vm0Error } from '@vm0/contract'
import type { TurnEnd } from '@vm0/frameworks'
import type { ModelFailure } from './model-patience.js'
import type { OutputSchema } from './output-schema.js'
import { platformStopped } from './host-lost.js'
import type { RunEnd } from './store.js'

/** How a run's outcome follows from what is known at its end: decisions only, nothing is done here. */
export type Ending = Pick<RunEnd, 'state' | 'reason' | 'error'>

/** Why VM0 itself ended the agent's turn. */
export type StopReason = 'cancel' | 'timeout' | 'unauthorized' | 'shutdown' | 'model' | 'memory' | 'silence'

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

/**
 * What VM0 did goes before what the agent says of it: an agent that was stopped may call that an error, or a success.
 * `completed`: it ended its turn by itself all the same.
 */
export function endingOfStop(
  stopping: StopReason | undefined,
  timeoutMs: number | undefined,
  completed: boolean,
  { modelFailure, message }: { modelFailure?: ModelFailure | undefined; message?: string | undefined } = {},
): Ending | undefined {
  switch (stopping) {
    case 'cancel':
      return failure('cancelled', 'cancelled', 'CANCELLED', 'the run was cancelled')
    case 'timeout':
      return failure('failed', 'timed_out', 'TIMED_OUT', `the run took longer than its limit of ${timeoutMs} ms`)
    case 'unauthorized':
      return failure(
        'failed',
        'model_unauthorized',
        'MODEL_UNAUTHORIZED',
        "the model endpoint refused the platform's key",
      )
    case 'shutdown':
      return completed ? undefined : platformStopped()
    case 'model':
      return modelFailure && endingOfModel(modelFailure)
    case 'memory':
      return failure('died', 'out_of_memory', 'OUT_OF_MEMORY', message ?? 'the sandbox used up its memory')
    case 'silence':
      return failure('died', 'agent_hung', 'AGENT_HUNG', message ?? 'nothing came from the agent for too long')
    case undefined:
      return undefined
  }
}

function endingOfModel({ code, message, details }: ModelFailure): Ending {
  if (code === 'AGENT_START_FAILED') return failure('died', 'agent_hung', code, message)
  return failure('failed', code.toLowerCase(), code, message, details)
}

export function endingOfTurn({ reason, error, output }: TurnEnd, schema?: OutputSchema): Ending {
  if (!error) {
    const problem = schema?.problem(output)
    if (problem === undefined) return { state: 'succeeded', reason: null, error: null }
    const missing = output === undefined ? 'the agent gave no output in the form that was asked for' : undefined
    const told = missing ?? `the agent's output is not as its schema says: ${problem}`
    return failure('failed', 'output_invalid', 'OUTPUT_INVALID', told)
  }
  const { code, message, httpStatus } = error
  const details = httpStatus ? { httpStatus } : {}
  return failure('failed', reason === 'max_turns' ? 'max_turns' : code.toLowerCase(), code, message, details)
}

/** What was thrown before or during the turn. */
export function endingOfError({ code, message, details }: Vm0Error): Ending {
  const died = ['SANDBOX_START_FAILED', 'HOST_DISK_FULL', 'HOST_LOST', 'INTERNAL'].includes(code)
  return failure(died ? 'died' : 'failed', code.toLowerCase(), code, message, details)
}

export function takenOver(): Vm0Error {
  return new Vm0Error('HOST_LOST', 'another runner has taken the session over')
}
