import type { Sandbox } from '@vm0/sandbox'
import { causeOfDeath } from './cause-of-death.js'
import type { LiveAgent } from './live-agent.js'
import { endingOfError, failure, type Ending } from './run-endings.js'

export interface GoneAgent {
  agent: LiveAgent
  sandbox: Sandbox | undefined
  /** How many tasks of the sandbox the kernel had killed for want of memory when the agent was last seen alive. */
  killsBefore: number
  started: boolean
  /** Its last words. */
  stderr: string
}

/** The outcome of a run whose agent has ended in the middle of it, without VM0 having asked it to. */
export async function endingOfDeath({ agent, sandbox, killsBefore, started, stderr }: GoneAgent): Promise<Ending> {
  const { exitCode, reason: exitReason } = await agent.process.exited
  if (sandbox?.failure) return endingOfError(sandbox.failure)
  const stats = await sandbox?.stats().catch(() => undefined)
  // The kernel ends by SIGKILL, and its count tells that it was the kernel: it has risen since the agent was seen alive.
  const killed = stats && exitCode === 137 && stats.oomKills > killsBefore
  const memoryPeakBytes = killed ? stats.memoryPeakBytes : undefined
  const { reason, code, message } = causeOfDeath({ exitCode, exitReason, started, stderr, memoryPeakBytes })
  return failure('died', reason, code, message, { exitCode, stderr })
}
