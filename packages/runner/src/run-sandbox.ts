import type { ClaimedSession, CreateRunParsed, RunRef, Timings } from '@vm0/contract'
import type { FrameworkDriver } from '@vm0/frameworks'
import type { SandboxCounts } from '@vm0/sandbox'
import { launchSpecOf } from './live-agent.js'
import type { LiveSession } from './live-session.js'
import { kindOf } from './pool/kind.js'
import type { WarmPool } from './pool/pool.js'
import type { ReadySandbox } from './ready-sandbox.js'

/** With fewer processes an agent can't begin a command. */
const leastFreeProcesses = 8

export interface SandboxRequest {
  driver: FrameworkDriver
  spec: CreateRunParsed
  ref: RunRef
  pool: WarmPool
  /** Told whether the pool had one. */
  timings: Timings
  /** The session as it was when the run was claimed. */
  known: ClaimedSession
  signal: AbortSignal
  /** Gives the session another sandbox in place of the one that it has. */
  renew(): Promise<ReadySandbox>
}

/** What a run works in: its session's sandbox, a warm one, or a new one. */
export async function sandboxFor(
  session: LiveSession,
  { driver, spec, ref, pool, timings, known, signal, renew }: SandboxRequest,
): Promise<ReadySandbox> {
  const ready = await session.ready({
    resources: spec.resources,
    known,
    takeWarm: (template, resources) => {
      const warm = pool.take(kindOf({ driver, template, resources, launch: launchSpecOf(spec), ref }))
      timings.pool ??= warm ? 'hit' : 'miss'
      return warm
    },
    signal,
  })
  return ready.how === 'session' && isCrowded(ready.sandbox.counts()) ? renew() : ready
}

/** What was left running leaves no room for an agent and what it starts: a fork bomb does. */
function isCrowded({ processes, processLimit }: SandboxCounts): boolean {
  return processLimit > 0 && processLimit - processes < leastFreeProcesses
}
