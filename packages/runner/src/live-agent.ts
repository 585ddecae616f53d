import { randomBytes } from 'node:crypto'
import type { RunSpec } from '@vm0/contract'
import type { AgentProtocol, FrameworkDriver, LaunchSpec } from '@vm0/frameworks'
import type { MonitoredProcess, OutputLine, Sandbox } from '@vm0/sandbox'
import type { RunnerOptions } from './options.js'
import { releaseTarget } from './platform-mounts.js'
import { maxAgentOutputBytes, type WarmSandbox } from './pool/warm-sandbox.js'

/** An agent process in a session's sandbox. */
export interface LiveAgent {
  framework: string
  process: MonitoredProcess
  protocol: AgentProtocol
  lines: AsyncIterator<OutputLine>
  /** What it was started with or bound to since. */
  spec: LaunchSpec
  version: string
}

export function launchSpecOf({ model, systemPrompt, tools, env, limits }: RunSpec): LaunchSpec {
  return { model, systemPrompt, tools, env, maxTurns: limits?.turns }
}

export interface StartAgentRequest {
  sandbox: Sandbox
  driver: FrameworkDriver
  spec: LaunchSpec
  /** The agent's own session id to go on with. */
  resume: string | null
}

/** Starts the newest installed release. */
export async function startAgent(releases: RunnerOptions['releases'], request: StartAgentRequest): Promise<LiveAgent> {
  const { sandbox, driver, spec, resume } = request
  const release = await releases.newest(driver.name)
  const releaseDir = releaseTarget(driver.name, release.version)
  const launch = driver.launch({ releaseDir, gatewayUrl: sandbox.gatewayUrl, resume, spec })
  const id = `agent-${randomBytes(4).toString('hex')}`
  const process = await sandbox.spawn({ id, ...launch, maxOutputBytes: maxAgentOutputBytes })
  return {
    framework: driver.name,
    process,
    protocol: driver.open({ resumed: resume !== null }),
    lines: process.output()[Symbol.asyncIterator](),
    spec,
    version: release.version,
  }
}

/** The agent that waits in a warm sandbox. */
export function agentOf({ kind, process, lines, version }: WarmSandbox): LiveAgent {
  // Its totals begin with what the warm-up counted.
  const protocol = kind.driver.open({ resumed: true })
  return { framework: kind.driver.name, process, protocol, lines, spec: {}, version }
}
