import type { LogLevel, LogSource, Vm0Event } from '@vm0/contract'
import { byteWords } from '@vm0/contract'
import { lasting } from '../story/words.js'
import { memoryWords } from '../why/memory-words.js'
import { starvedWords } from '../why/starvation-words.js'

export interface Told {
  source: LogSource
  level: LogLevel
  text: string
}

const maxChars = 500

/** An event as an entry of the timeline: who told it, how grave it is, and what it says on one line. */
export function toldBy(event: Vm0Event): Told {
  const text = wordsOf(event).replaceAll(/\s+/g, ' ').trim()
  const cut = text.length > maxChars ? `${text.slice(0, maxChars - 1)}…` : text
  return { source: sourceOf(event), level: levelOf(event), text: cut || event.type }
}

function sourceOf({ type }: Vm0Event): LogSource {
  if (type.startsWith('sandbox.') || type === 'tool.processes' || type === 'processes.lost') return 'sandbox'
  if (type.startsWith('model.')) return 'gateway'
  if (type === 'run.queued' || type === 'project.quota_pressure') return 'server'
  // What an agent says of its own start is `run.started`.
  if (type === 'run.finished' || type === 'run.resumed' || type === 'run.state' || type === 'checkpoint.committed')
    return 'runner'
  return type === 'input.sent' ? 'runner' : 'agent'
}

function levelOf(event: Vm0Event): LogLevel {
  switch (event.type) {
    case 'run.finished':
      return event.outcome === 'died' || event.outcome === 'failed' ? 'error' : 'info'
    case 'sandbox.out_of_memory':
    case 'error':
      return 'error'
    case 'sandbox.report':
    case 'sandbox.disk_pressure':
    case 'project.quota_pressure':
    case 'processes.lost':
    case 'run.resumed':
    case 'message.abandoned':
      return 'warn'
    case 'tool.finished':
      return event.ok ? 'info' : 'warn'
    case 'model.response':
      return event.httpStatus < 400 ? 'info' : 'warn'
    case 'notice':
      return event.level === 'warning' ? 'warn' : event.level
    case 'status':
      return event.state === 'retrying' ? 'warn' : 'debug'
    case 'message.delta':
    case 'thinking.delta':
    case 'tool.output':
    case 'raw':
    case 'sandbox.memory':
      return 'debug'
    default:
      return 'info'
  }
}

const triggers = {
  process_limit: 'a new process was refused: the sandbox has as many as it may',
  disk_full: "the sandbox's disk is full",
  agent_ended: 'the agent ended',
  agent_silent: 'nothing has come from the agent for long',
}

function wordsOf(event: Vm0Event): string {
  switch (event.type) {
    case 'run.queued':
      return 'the run is queued'
    case 'sandbox.ready':
      return `sandbox ${event.sandboxId} is ready (${event.how}) after ${lasting(event.durationMs)}, agent ${event.agentVersion}`
    case 'run.started':
      return `the agent has begun: model ${event.model}, in ${event.cwd}`
    case 'message':
    case 'message.delta':
      return event.text
    case 'thinking':
    case 'thinking.delta':
      return `thinking: ${event.text}`
    case 'tool.started':
      return `▸ ${event.name} ${event.title}`
    case 'tool.output':
      return event.chunk
    case 'tool.finished': {
      const how = event.ok ? '✓' : `✗ ${event.exitCode === undefined ? (event.error ?? '') : `exit ${event.exitCode}`}`
      return `${how} ${event.name} after ${lasting(event.durationMs)}: ${event.output.slice(0, maxChars)}`
    }
    case 'tool.processes':
      return `${event.seen} process${event.seen === 1 ? '' : 'es'} of the call: ${event.processes
        .slice(0, 3)
        .map(({ command }) => command.slice(0, 80))
        .join(' · ')}`
    case 'subagent.started':
      return `sub-agent: ${event.prompt.slice(0, maxChars)}`
    case 'input.sent':
      return `told the agent: ${event.text.slice(0, maxChars)}`
    case 'permission.requested':
      return `asks for leave: ${event.name}`
    case 'permission.resolved':
      return `${event.decision === 'allow' ? 'allowed' : 'denied'} by the ${event.by}: ${event.name}`
    case 'model.request':
      return `${event.method} ${event.path}`
    case 'model.response':
      return `${event.path} answered ${event.httpStatus} after ${lasting(event.durationMs)}`
    case 'usage':
      return `used ${event.usage.inputTokens} tokens in, ${event.usage.outputTokens} out of ${event.model} (${event.scope})`
    case 'status':
      return event.state === 'retrying' ? `the model did not answer: try ${event.attempt ?? 1}` : event.state
    case 'notice':
    case 'stderr':
      return event.text
    case 'error':
      return `${event.code}: ${event.message}`
    case 'checkpoint.committed':
      return `saved ${event.changedFiles} changed file${event.changedFiles === 1 ? '' : 's'} (${event.cause}), ${Math.ceil(event.sizeBytes / 1024)} KiB in ${lasting(event.durationMs)}`
    case 'agent.finished':
      return `the agent is done (${event.reason}) after ${lasting(event.durationMs)}`
    case 'run.state':
      return event.state === 'waiting' ? 'waits for a person' : 'goes on'
    case 'run.resumed':
      return `attempt ${event.attempt}: ${event.reason}`
    case 'run.finished':
      return `the run has ${event.outcome === 'died' ? 'died' : `ended: ${event.outcome}`}${event.reason ? ` (${event.reason})` : ''}${event.error ? `: ${event.error.message}` : ''}`
    case 'processes.lost':
      return `not running any more: ${event.count}, such as ${event.processes[0]?.command ?? ''}`
    case 'sandbox.disk_pressure':
      return `${byteWords(event.usedBytes)} of ${byteWords(event.totalBytes)} of the sandbox's disk are used`
    case 'project.quota_pressure':
      return `the project stores ${byteWords(event.storedBytes)} of ${byteWords(event.quotaBytes)}`
    case 'sandbox.out_of_memory':
      return `out of memory: ${memoryWords(event)}`
    case 'sandbox.report':
      return event.trigger === 'cpu_starved' ? `its processes ${starvedWords(event)}` : triggers[event.trigger]
    case 'sandbox.memory': {
      const most = event.points.reduce((max, { bytes }) => Math.max(max, bytes), 0)
      return `memory since ${event.since.slice(11, 19)}: at most ${byteWords(most)} of ${byteWords(event.limitBytes)}`
    }
    default:
      return event.type
  }
}
