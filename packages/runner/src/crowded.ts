import type { Sandbox } from '@vm0/sandbox'

/** With fewer an agent can't begin a command. */
const leastFreeProcesses = 8

/** What was left running leaves no room for an agent and what it starts: a fork bomb does. */
export async function isCrowded(sandbox: Sandbox): Promise<boolean> {
  const { processes, processLimit } = await sandbox.stats()
  return processLimit > 0 && processLimit - processes < leastFreeProcesses
}
