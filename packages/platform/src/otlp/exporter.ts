import type { Database, EventLog, EventScope, SecretsPort } from '@vm0/backends'
import type { Vm0Event } from '@vm0/contract'
import { TraceBuilder } from '@vm0/insight'
import type { Logger } from 'pino'
import type { Metrics } from '../metrics/index.js'
import { ExportQueue, type ExportQueueOptions, type SendResult } from './export-queue.js'
import { exported, exporters, otelOf, type LogRecord, type Otel, type TraceExporter } from './library.js'
import { isExported, logRecordOf, sizeOfEvent } from './log-records.js'
import { resourceMetricsOf } from './metric-data.js'
import { ExportContexts } from './run-context.js'
import type { OtlpProtocol, OtlpSettings, Signal } from './settings.js'
import { SpanContent, spansOf } from './spans.js'

export interface OtlpExporterOptions {
  settings: OtlpSettings
  metrics: Metrics
  eventLog: EventLog
  database: Database
  secrets: SecretsPort
  logger: Logger
  version: string
}

interface TakenEvent {
  scope: EventScope
  event: Vm0Event
}

const spansAtATime = 500
const closePatienceMs = 5_000
const logSizes = { maxItems: 20_000, maxBytes: 32 * 1024 ** 2, batchItems: 500, delayMs: 1_000 }
/** Of a trace that waits only the run's id is kept. */
const traceSizes = { maxItems: 1_000, maxBytes: Infinity, batchItems: 1, delayMs: 0 }

/**
 * Hands what happens to an OTLP collector: events of runs as logs while they happen, the trace of a run when it has ended, the
 * metrics from time to time. Nothing of the platform waits for it.
 */
export class OtlpExporter {
  private readonly logs: ExportQueue<TakenEvent> | undefined
  private readonly traces: ExportQueue<EventScope> | undefined
  private readonly contexts: ExportContexts
  private readonly otel: Otel
  private readonly closing: (() => Promise<unknown>)[] = []

  constructor(private readonly options: OtlpExporterOptions) {
    const { settings, database, secrets, version } = options
    const { traces, logs, metrics } = settings.protocols
    this.contexts = new ExportContexts(database, secrets)
    this.otel = otelOf(settings.attributes, version)
    this.logs = logs && this.logQueue(logs)
    this.traces = traces && this.traceQueue(traces)
    if (metrics) this.sendMetrics(metrics)
  }

  event(scope: EventScope, event: Vm0Event): void {
    if (this.logs && isExported(event)) this.logs.add({ scope, event })
  }

  ended(scope: EventScope): void {
    this.traces?.add(scope)
  }

  /** Sends what waits; a collector that hangs is left after some seconds. */
  async close(): Promise<void> {
    await Promise.all([this.logs?.close(closePatienceMs), this.traces?.close(closePatienceMs)])
    await within(Promise.all(this.closing.map((close) => close())), closePatienceMs)
  }

  private logQueue(protocol: OtlpProtocol): ExportQueue<TakenEvent> {
    const exporter = exporters.logs(protocol)
    this.closing.push(() => exporter.shutdown())
    return this.queue('logs', {
      ...logSizes,
      sizeOf: ({ event }) => sizeOfEvent(event),
      send: async (batch) => {
        const records = await this.records(batch)
        return records.length === 0 ? 'taken' : exported(exporter, records)
      },
    })
  }

  private traceQueue(protocol: OtlpProtocol): ExportQueue<EventScope> {
    const exporter = exporters.traces(protocol)
    this.closing.push(() => exporter.shutdown())
    return this.queue('traces', {
      ...traceSizes,
      sizeOf: () => 0,
      send: ([scope]) => this.sendTrace(scope as EventScope, exporter),
    })
  }

  private queue<T>(signal: Signal, options: Omit<ExportQueueOptions<T>, 'onExported' | 'onDropped'>): ExportQueue<T> {
    const { metrics } = this.options
    return new ExportQueue<T>({
      ...options,
      send: (batch) =>
        options.send(batch).catch((error: unknown) => {
          this.failed(signal, error)
          return 'refused'
        }),
      onExported: (count) => metrics.add('vm0_telemetry_exported_total', { signal }, count),
      onDropped: (reason, count) => metrics.add('vm0_telemetry_dropped_total', { signal, reason }, count),
    })
  }

  private async records(batch: readonly TakenEvent[]): Promise<LogRecord[]> {
    const records: LogRecord[] = []
    for (const { scope, event } of batch) {
      const context = await this.contexts.of(scope)
      if (context && context.capture !== 'none') records.push(logRecordOf(event, context, this.otel))
    }
    return records
  }

  private async sendTrace(scope: EventScope, exporter: TraceExporter): Promise<SendResult> {
    const context = await this.contexts.read(scope)
    if (!context || context.capture === 'none') return 'taken'
    const builder = new TraceBuilder({ ...context.run, traceparent: context.traceparent })
    const written = new SpanContent()
    for await (const { event } of this.options.eventLog.stored(scope)) {
      builder.add(event)
      if (context.capture === 'full') written.add(event)
    }
    const spans = spansOf(builder.trace(), context, written, this.otel)
    for (let at = 0; at < spans.length; at += spansAtATime) {
      const result = await exported(exporter, spans.slice(at, at + spansAtATime))
      if (result !== 'taken') return result
    }
    return 'taken'
  }

  /** One at a time: while a collector hangs, the next ones are left out and counted. */
  private sendMetrics(protocol: OtlpProtocol): void {
    const { metrics, settings } = this.options
    const exporter = exporters.metrics(protocol)
    const sinceMs = Date.now()
    const signal = 'metrics'
    let sending: Promise<void> | undefined
    const send = async (): Promise<void> => {
      const result = await exported(exporter, await resourceMetricsOf(metrics, sinceMs, this.otel))
      if (result === 'taken') metrics.add('vm0_telemetry_exported_total', { signal })
      else metrics.add('vm0_telemetry_dropped_total', { signal, reason: result })
    }
    const begin = (): void => {
      if (sending) return metrics.add('vm0_telemetry_dropped_total', { signal, reason: 'buffer_full' })
      sending = send()
        .catch((error: unknown) => this.failed(signal, error))
        .finally(() => (sending = undefined))
    }
    const timer = setInterval(begin, settings.metricIntervalMs).unref()
    this.closing.push(async () => {
      clearInterval(timer)
      if (!sending) begin()
      await sending
      await exporter.shutdown()
    })
  }

  private failed(signal: Signal, error: unknown): void {
    this.options.logger.warn({ signal, error }, 'telemetry could not be made')
  }
}

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))
  await Promise.race([work.catch(() => undefined), late])
  clearTimeout(timer)
}
