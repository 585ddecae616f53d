import type { ErrorCode } from '@vm0/contract'

export interface Death {
  exitCode: number
  exitReason: 'exit' | 'output_limit'
  /** It had told that its session began. */
  started: boolean
  /** Its last words. */
  stderr: string
  /** The sandbox's peak where the kernel killed in it since the run began; otherwise undefined. */
  memoryPeakBytes: number | undefined
}

/** Why an agent ended that nobody had asked to. */
export function causeOfDeath({ exitCode, exitReason, started, stderr, memoryPeakBytes }: Death): {
  reason: string
  code: ErrorCode
  message: string
} {
  if (memoryPeakBytes !== undefined)
    return {
      reason: 'out_of_memory',
      code: 'OUT_OF_MEMORY',
      message: `the agent was killed at the sandbox's memory limit (peak ${Math.round(memoryPeakBytes / 1024 ** 2)} MiB)`,
    }
  if (exitReason === 'output_limit')
    return {
      reason: 'output_limit',
      code: 'AGENT_CRASHED',
      message: 'the agent printed more than is kept of one process',
    }
  if (!started)
    return {
      reason: 'agent_crashed',
      code: 'AGENT_START_FAILED',
      message: `the agent ended with status ${exitCode} before its first message: ${stderr.slice(-500) || 'it said nothing'}`,
    }
  return {
    reason: 'agent_crashed',
    code: 'AGENT_CRASHED',
    message: `the agent ended with status ${exitCode} in the middle of its turn`,
  }
}
