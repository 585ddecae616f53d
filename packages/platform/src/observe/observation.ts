import type { Database, EventLog, EventScope, SecretsPort } from '@vm0/backends'
import type { RunnerStatus } from '@vm0/contract'
import type { Exchange } from '@vm0/gateway'
import type { Egress } from '@vm0/sandbox'
import type { DeliveryOutcome } from '@vm0/server'
import type { Logger } from 'pino'
import { OtlpExporter, signals, type OtlpSettings } from '../otlp/index.js'
import { ExportContexts } from '../otlp/run-context.js'
import { createMetrics, EgressMetrics, readHostMetrics, RunMetrics, serveMetrics } from '../metrics/index.js'
import type { RunObserver } from '../run-observer.js'
import { observeLog } from './observed-log.js'

const deliveryOutcomes: readonly DeliveryOutcome[] = ['delivered', 'retried', 'failed']
const dropReasons = ['buffer_full', 'refused', 'unreachable'] as const

export interface ObservationOptions {
  eventLog: EventLog
  database: Database
  secrets: SecretsPort
  logger: Logger
  env: NodeJS.ProcessEnv
  version: string
}

/** What is asked of the host before each scrape. */
export interface WatchedHost {
  status(): Promise<RunnerStatus>
  egress(): Promise<Egress>
}

/** What this process tells of itself and its runs to those who watch it. */
export interface Observation {
  /** The log, for everybody who writes it. */
  eventLog: EventLog
  /** An attempt to tell a webhook has come to its end. */
  webhookTried(outcome: DeliveryOutcome): void
  /** A model request has left and is over. */
  exchanged(exchange: Exchange): void
  /** Begins to answer; says where. */
  start(host: WatchedHost): Promise<string[]>
  close(): Promise<void>
}

export function observe(options: ObservationOptions, settings: OtlpSettings | undefined): Observation {
  const { eventLog, database, secrets, logger, env, version } = options
  const metrics = createMetrics()
  for (const signal of signals) {
    metrics.add('vm0_telemetry_exported_total', { signal }, 0)
    for (const reason of dropReasons) metrics.add('vm0_telemetry_dropped_total', { signal, reason }, 0)
  }
  for (const outcome of deliveryOutcomes) metrics.add('vm0_webhook_deliveries_total', { outcome }, 0)
  const contexts = new ExportContexts(database, secrets)
  const traceOf = async (scope: EventScope) => (await contexts.of(scope))?.traceId
  const endOf = async ({ projectId, runId }: EventScope) => {
    const row = await database.db
      .selectFrom('runs')
      .select(['state', 'reason'])
      .where('project_id', '=', projectId)
      .where('id', '=', runId)
      .executeTakeFirst()
    return row && { outcome: row.state, reason: row.reason }
  }
  const egress = new EgressMetrics(metrics)
  const exporter = settings && new OtlpExporter({ ...options, settings, metrics })
  const observers: RunObserver[] = [new RunMetrics(metrics, traceOf, endOf), ...(exporter ? [exporter] : [])]
  const closing: (() => Promise<void>)[] = exporter ? [() => exporter.close()] : []
  return {
    eventLog: observeLog(eventLog, observers, (error) => logger.error({ error }, 'an event could not be counted')),
    webhookTried: (outcome) => metrics.add('vm0_webhook_deliveries_total', { outcome }),
    exchanged: (exchange) => egress.exchanged(exchange),
    async start(host) {
      readHostMetrics(metrics, { database, version, status: () => host.status() })
      metrics.beforeScrape(async () => {
        const now = await host.egress().catch(() => undefined)
        if (now) egress.update(now)
      })
      const said: string[] = []
      if (env.VM0_METRICS) {
        const server = await serveMetrics(env.VM0_METRICS, metrics)
        closing.push(() => server.close())
        said.push(`Metrics are at ${server.url}`)
      }
      if (settings) said.push(`Telemetry goes to ${env.OTEL_EXPORTER_OTLP_ENDPOINT ?? 'the collectors of its signals'}`)
      return said
    },
    async close() {
      for (const close of closing.splice(0).toReversed()) await close()
    },
  }
}
