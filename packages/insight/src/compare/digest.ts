import type { RunView } from '@vm0/contract'
import { findingsOf } from '../detect/detect.js'
import type { RunRecord } from '../record/run-record.js'

/** What of a run is compared with others. */
export interface RunDigest {
  id: string
  outcome: string
  reason: string | null
  labels: Record<string, string>
  /** That its sandbox was made of: the session may have moved to another one since. */
  template: string
  /** The agent and its version. */
  release: string
  /** The model that answered most of its requests; what was asked for where none answered. */
  model: string
  durationMs: number
  costUsd: number
  tokens: number
  modelRequests: number
  toolCalls: number
  toolFailures: number
  /** How often each kind of finding was made. */
  findings: Record<string, number>
}

export function digestOf(record: RunRecord, run: RunView): RunDigest {
  const { usage } = run
  const findings: Record<string, number> = {}
  for (const { kind } of findingsOf(record)) findings[kind] = (findings[kind] ?? 0) + 1
  const finished = record.calls.filter(({ ok }) => ok !== undefined)
  return {
    id: run.id,
    outcome: run.state,
    reason: run.reason,
    labels: run.labels,
    template: record.ready?.template ?? 'none',
    release: `${run.framework} ${run.agentVersion ?? '?'}`,
    model: mostOf(record.steps.map(({ model }) => model)) ?? run.model ?? 'none',
    durationMs: run.timings.totalMs ?? record.lastMs,
    costUsd: run.costUsd,
    tokens: usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens,
    modelRequests: record.steps.length,
    toolCalls: record.calls.length,
    toolFailures: finished.filter(({ ok }) => !ok).length,
    findings,
  }
}

function mostOf(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].toSorted(([, a], [, b]) => b - a)[0]?.[0]
}
