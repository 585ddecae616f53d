import { traceparentOf, type RunSpec } from '@vm0/contract'
import { shownDirectory, type Sandbox } from '@vm0/sandbox'

const name = 'environment'

/**
 * Has every bash that an agent starts read a file of the platform's first. What changes from run to run is in there: told to the
 * agent as a setting it would make the next model request some 15 ms later, since the agent makes its client anew. SHLVL says that
 * the agent was started from a shell, as on anybody's machine: the first bash of all takes a socket as its stdin for a remote login
 * and reads .bashrc in place of that file.
 */
export const toolEnvironment: Readonly<Record<string, string>> = {
  BASH_ENV: `${shownDirectory}/${name}`,
  SHLVL: '1',
}

/** Commands of the run find its span as TRACEPARENT, unless the caller gave them another. */
export function showToolEnvironment(sandbox: Sandbox, runId: string, { env, traceparent }: RunSpec): Promise<void> {
  const own = env?.TRACEPARENT !== undefined
  return sandbox.show(name, own ? '' : `export TRACEPARENT=${traceparentOf(runId, traceparent)}\n`)
}
