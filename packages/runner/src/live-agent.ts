import { randomBytes } from 'node:crypto'
import type { RunSpec } from '@vm0/contract'
import type { AgentProtocol, FrameworkDriver, LaunchSpec } from '@vm0/frameworks'
import type { MonitoredProcess, Sandbox } from '@vm0/sandbox'
import type { RunnerOptions } from './options.js'
import { CountedLines } from './adoption/counted-lines.js'
import type { Journal } from './adoption/journal.js'
import { JournaledAgent } from './adoption/journaled-agent.js'
import { releaseTarget } from './platform-mounts.js'
import { maxAgentOutputBytes, type WarmSandbox } from './pool/warm-sandbox.js'
import { toolEnvironment } from './tool-environment.js'

/** An agent process in a session's sandbox. */
export interface LiveAgent {
  framework: string
  process: MonitoredProcess
  protocol: AgentProtocol
  lines: CountedLines
  /** What it was started with or bound to since. */
  spec: LaunchSpec
  version: string
  /** What becomes known of the agent to a later process of this runner. */
  journal: Journal | undefined
}

export function launchSpecOf({ limits, ...spec }: RunSpec): LaunchSpec {
  const { model, systemPrompt, tools, env, permissions, output, mcpServers } = spec
  return { model, systemPrompt, tools, env, permissions, output, mcpServers, maxTurns: limits?.turns }
}

export interface StartAgentRequest {
  sandbox: Sandbox
  driver: FrameworkDriver
  spec: LaunchSpec
  /** The agent's own session id to go on with. */
  resume: string | null
}

/** Starts the newest installed release. */
export async function startAgent(
  releases: RunnerOptions['releases'],
  request: StartAgentRequest,
  keeping: Keeping,
): Promise<LiveAgent> {
  const { sandbox, driver, spec, resume } = request
  const release = await releases.newest(driver.name)
  const releaseDir = releaseTarget(driver.name, release.version)
  const launch = driver.launch({ releaseDir, gatewayUrl: sandbox.gatewayUrl, resume, spec })
  const id = `agent-${randomBytes(4).toString('hex')}`
  const env = { ...toolEnvironment, ...launch.env }
  const process = await sandbox.spawn({ id, ...launch, env, maxOutputBytes: maxAgentOutputBytes })
  const lines = new CountedLines(process.output()[Symbol.asyncIterator]())
  return own({ driver, process, lines, spec, version: release.version, resumed: resume !== null }, keeping)
}

/** The agent that waits in a warm sandbox. Its totals begin with what the warm-up counted. */
export function agentOf({ kind, process, lines, version }: WarmSandbox, keeping: Keeping): LiveAgent {
  return own({ driver: kind.driver, process, lines, spec: kind.spec, version, resumed: true }, keeping)
}

export interface Keeping {
  secrets: RunnerOptions['secrets']
  journal: Journal | undefined
}

interface OwnAgent extends Pick<LiveAgent, 'process' | 'lines' | 'spec' | 'version'> {
  driver: FrameworkDriver
  resumed: boolean
}

function own({ driver, process, lines, spec, version, resumed }: OwnAgent, { secrets, journal }: Keeping): LiveAgent {
  const read = { out: lines.out, err: lines.err }
  const framework = driver.name
  journal?.add({ t: 'agent', process: process.id, framework, version, resumed, read, spec: sealed(spec, secrets) })
  const agent = new JournaledAgent({
    driver,
    process,
    lines,
    resumed,
    asks: spec.permissions === 'ask',
    secrets,
    journal,
  })
  return { framework, process: agent.process, protocol: agent.protocol, lines, spec, version, journal }
}

/** The agent works with `spec` from here on. */
export function bind(agent: LiveAgent, spec: LaunchSpec, secrets: RunnerOptions['secrets']): void {
  agent.spec = spec
  agent.journal?.add({ t: 'bound', spec: sealed(spec, secrets) })
}

function sealed(spec: LaunchSpec, secrets: RunnerOptions['secrets']): string {
  return secrets.seal(JSON.stringify(spec)).toString('base64')
}

/** All of them are in the agent's pipe, in order, before anything else is done here; resolves when it has taken them. */
export async function writeLines({ process }: LiveAgent, lines: readonly string[]): Promise<void> {
  await Promise.all(lines.map((line) => process.write(line)))
}
