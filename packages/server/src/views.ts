import type { Schema, SecretsPort } from '@vm0/backends'
import { isEnded, noTimings, noUsage, type RunState, type RunView, type SessionView } from '@vm0/contract'
import type { Selectable } from 'kysely'

export const time = (value: Date | string): string => new Date(value).toISOString()

export function runView(row: Selectable<Schema['runs']>, secrets: SecretsPort): RunView {
  return {
    id: row.id,
    sessionId: row.session_id,
    state: row.state as RunState,
    reason: row.reason,
    framework: row.framework,
    agentVersion: row.agent_version,
    model: row.model,
    labels: row.labels as Record<string, string>,
    text: row.result_text ? secrets.open(row.result_text) : null,
    output: row.output ? (JSON.parse(secrets.open(row.output)) as unknown) : null,
    usage: { ...noUsage, ...(row.usage as object) },
    costUsd: Number(row.cost_usd),
    timings: { ...noTimings, ...(row.timings as object) },
    checkpoint: row.checkpoint,
    attempts: row.attempts,
    error: row.error as RunView['error'],
    createdAt: time(row.created_at),
    startedAt: row.started_at ? time(row.started_at) : null,
    endedAt: row.ended_at ? time(row.ended_at) : null,
  }
}

export function sessionView(row: Selectable<Schema['sessions']>, runs: { state: string }[]): SessionView {
  const active = runs.some(({ state }) => !isEnded(state as RunState))
  return {
    id: row.id,
    template: row.template,
    framework: row.framework,
    state: row.state === 'deleted' ? 'deleted' : active ? 'active' : 'idle',
    head: row.head,
    origin: row.origin,
    resources: row.resources as SessionView['resources'],
    labels: row.labels as Record<string, string>,
    lostProcesses: row.lost_processes as SessionView['lostProcesses'],
    runs: runs.length,
    createdAt: time(row.created_at),
    updatedAt: time(row.updated_at),
  }
}
