export const outcomes = ['succeeded', 'failed', 'cancelled', 'died'] as const
export const activeStates = ['queued', 'starting', 'running', 'waiting'] as const
export type Outcome = (typeof outcomes)[number]
export type RunState = (typeof activeStates)[number] | Outcome

/**
 * The life of a run. A state that is not in this table cannot be written.
 *
 *   queued → starting → running ⇄ waiting → succeeded | failed | cancelled | died
 */
export const runTransitions: Record<RunState, readonly RunState[]> = {
  queued: ['starting', 'cancelled', 'died', 'failed'],
  starting: ['running', 'cancelled', 'failed', 'died'],
  running: ['waiting', 'succeeded', 'failed', 'cancelled', 'died'],
  waiting: ['running', 'failed', 'cancelled', 'died'],
  succeeded: [],
  failed: [],
  cancelled: [],
  died: [],
}

export function isEnded(state: RunState): state is Outcome {
  return runTransitions[state].length === 0
}
