import { readdirSync } from 'node:fs'
import { noTimings, noUsage, type EventBody, type Outcome, type RunView, type Vm0Event } from '@vm0/contract'
import { readRecording, replayTimed } from '../../packages/frameworks/src/claude-code/fixtures/recording.js'

const fixtures = new URL('../../packages/frameworks/src/claude-code/fixtures/', import.meta.url)
const beginMs = Date.parse('2026-01-02T03:04:05.000Z')
const startMs = 500

export const recordings = readdirSync(fixtures)
  .filter((file) => file.endsWith('.ndjson'))
  .map((file) => file.slice(0, -'.ndjson'.length))

/** What an agent once printed, as the log of a run: with its begin and its end as the platform writes them. */
export function recordedRun(name: string): { run: RunView; events: Vm0Event[] } {
  const timed = replayTimed(readRecording(new URL(`${name}.ndjson`, fixtures)))
  const last = timed.findLast(({ event }) => event.type === 'agent.finished')?.event
  const end = last?.type === 'agent.finished' ? last : undefined
  const error = timed.findLast(({ event }) => event.type === 'error')?.event
  const code = error?.type === 'error' ? error.code : 'AGENT_FAILED'
  const outcome: Outcome = end?.reason === 'completed' ? 'succeeded' : 'failed'
  const reason = outcome === 'succeeded' ? null : end?.reason === 'max_turns' ? 'max_turns' : code.toLowerCase()
  const lastMs = startMs + (timed.at(-1)?.ms ?? 0)
  const ids = { runId: '01980000-0000-7000-8000-00000000abcd', sessionId: '01980000-0000-7000-8000-000000005e55' }
  const ready = { sandboxId: 's', how: 'cold' as const, template: 'standard', agentVersion: '2.1.330' }
  const runError = reason === null ? null : { code, message: `the agent ended: ${reason}`, hint: 'Look into it.' }
  const bodies: { event: EventBody; ms: number }[] = [
    { event: { type: 'run.queued' }, ms: 0 },
    { event: { type: 'sandbox.ready', durationMs: startMs, ...ready }, ms: startMs },
    ...timed.map(({ event, ms }) => ({ event, ms: startMs + ms })),
    { event: { type: 'run.finished', outcome, reason, timings: noTimings, error: runError }, ms: lastMs },
  ]
  const events = bodies.map(({ event, ms }, index) => ({
    v: 1 as const,
    cursor: index === 0 ? '0.1' : `1.${index}`,
    time: new Date(beginMs + Math.round(ms)).toISOString(),
    ...ids,
    ...event,
  }))
  const run: RunView = {
    id: ids.runId,
    sessionId: ids.sessionId,
    state: outcome,
    reason,
    framework: 'claude-code',
    agentVersion: '2.1.330',
    model: null,
    labels: {},
    text: end?.text ?? null,
    output: null,
    usage: end?.usage ?? noUsage,
    costUsd: end?.costUsd ?? 0,
    timings: noTimings,
    checkpoint: null,
    attempts: 1,
    error: runError,
    createdAt: new Date(beginMs).toISOString(),
    startedAt: null,
    endedAt: null,
  }
  return { run, events }
}
