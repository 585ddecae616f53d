import type { CreateRunParsed, EventOf } from '@vm0/contract'
import type { Ending } from './run-endings.js'

export type LossReason = EventOf<'run.resumed'>['reason']

/**
 * How many attempts a run gets. An agent or a sandbox that ends may have been ended by the run's own work, so it is not
 * tried for ever; that a host is lost is seldom a run's fault, but may be.
 */
const maxAttempts: Record<LossReason, number> = {
  agent_crashed: 3,
  agent_killed: 3,
  sandbox_lost: 3,
  host_lost: 6,
  platform_away: 6,
}

export interface Situation {
  /** The attempt that has ended, from 1. */
  attempt: number
  onLoss: CreateRunParsed['onLoss']
  sandboxAlive: boolean
  /** The agent's turn had ended before this process was there to pass its model requests on. */
  endedAlone: boolean
}

/**
 * Why a run is taken up again after this end; undefined: it has ended. Only an agent that ended in the middle of its turn, by
 * itself or by somebody else's hand, is: not one that ran out of memory, printed without end or could not start.
 */
export function resumptionOf(
  { error, reason }: Ending,
  { attempt, onLoss, sandboxAlive, endedAlone }: Situation,
): LossReason | undefined {
  if (error?.code === 'MODEL_FAILED' && endedAlone)
    return mayResume('platform_away', { attempt, onLoss }) ? 'platform_away' : undefined
  if (error?.code !== 'AGENT_CRASHED' || reason !== 'agent_crashed') return undefined
  const killed = error.details?.exitCode === 137
  const loss: LossReason = sandboxAlive ? (killed ? 'agent_killed' : 'agent_crashed') : 'sandbox_lost'
  return mayResume(loss, { attempt, onLoss }) ? loss : undefined
}

export function mayResume(
  loss: LossReason,
  { attempt, onLoss = 'resume' }: Pick<Situation, 'attempt' | 'onLoss'>,
): boolean {
  return onLoss === 'resume' && attempt < maxAttempts[loss]
}

const happened: Record<LossReason, string> = {
  agent_crashed: 'Your process ended unexpectedly and was started again. Files are as they were at that moment',
  agent_killed: 'Your process was killed and started again. Files are as they were at that moment',
  sandbox_lost: 'The machine that you worked on ended and was made anew. Files are as they were at that moment',
  platform_away: 'Your model could not be reached for a while, and the last turn failed for that',
  host_lost:
    'The host that you worked on was lost. Files and this conversation are as they were when they were last saved',
}

export interface Told {
  loss: LossReason
  /** The conversation that the agent goes on with has the prompt. */
  hasPrompt: boolean
  prompt: string
  /** What a person said since. */
  said: readonly string[]
}

/** What an agent is told that takes a run up again. */
export function noteOf({ loss, hasPrompt, prompt, said }: Told): string {
  const note = `${happened[loss]}. The result of the last steps may be missing, and what was running may have ended: check what is done, then go on with the task.`
  const parts = [`[Note from the platform: ${note}]`]
  if (!hasPrompt) parts.push(prompt)
  if (said.length > 0) parts.push(`What you were told meanwhile, which you may have seen:\n\n${said.join('\n\n')}`)
  return parts.join('\n\n')
}
