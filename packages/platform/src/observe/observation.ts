import type { Database, EventLog, EventScope } from '@vm0/backends'
import type { RunnerStatus } from '@vm0/contract'
import type { Logger } from 'pino'
import { createMetrics, readHostMetrics, RunMetrics, serveMetrics } from '../metrics/index.js'
import { observeLog } from './observed-log.js'

const signals = ['traces', 'metrics', 'logs'] as const
const dropReasons = ['buffer_full', 'refused', 'unreachable'] as const

export interface ObservationOptions {
  eventLog: EventLog
  database: Database
  logger: Logger
  env: NodeJS.ProcessEnv
  version: string
}

/** What this process tells of itself and its runs to those who watch it. */
export interface Observation {
  /** The log, for everybody who writes it. */
  eventLog: EventLog
  /** Begins to answer; says where. */
  start(status: () => Promise<RunnerStatus>): Promise<string[]>
  close(): Promise<void>
}

export function openObservation({ eventLog, database, logger, env, version }: ObservationOptions): Observation {
  const metrics = createMetrics()
  for (const signal of signals) {
    metrics.add('vm0_telemetry_exported_total', { signal }, 0)
    for (const reason of dropReasons) metrics.add('vm0_telemetry_dropped_total', { signal, reason }, 0)
  }
  const endOf = async ({ projectId, runId }: EventScope) => {
    const row = await database.db
      .selectFrom('runs')
      .select(['state', 'reason'])
      .where('project_id', '=', projectId)
      .where('id', '=', runId)
      .executeTakeFirst()
    return row && { outcome: row.state, reason: row.reason }
  }
  const observers = [new RunMetrics(metrics, endOf)]
  const closing: (() => Promise<void>)[] = []
  return {
    eventLog: observeLog(eventLog, observers, (error) => logger.error({ error }, 'an event could not be counted')),
    async start(status) {
      readHostMetrics(metrics, { database, version, status })
      const said: string[] = []
      if (env.VM0_METRICS) {
        const server = await serveMetrics(env.VM0_METRICS, metrics)
        closing.push(() => server.close())
        said.push(`Metrics are at ${server.url}`)
      }
      return said
    },
    async close() {
      for (const close of closing.splice(0).toReversed()) await close()
    },
  }
}
