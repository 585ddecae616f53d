import { OTLPLogExporter as JsonLogs } from '@opentelemetry/exporter-logs-otlp-http'
import { OTLPLogExporter as ProtobufLogs } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter as JsonMetrics } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufMetrics } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufTraces } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources'
import type { SendResult } from './export-queue.js'
import type { OtlpProtocol } from './settings.js'

export type TraceExporter = Pick<ProtobufTraces, 'export' | 'shutdown'>
export type LogExporter = Pick<ProtobufLogs, 'export' | 'shutdown'>
export type MetricExporter = Pick<ProtobufMetrics, 'export' | 'shutdown'>
export type ReadableSpan = Parameters<TraceExporter['export']>[0][number]
export type LogRecord = Parameters<LogExporter['export']>[0][number]
export type ResourceMetrics = Parameters<MetricExporter['export']>[0]

/** What every item belongs to. */
export interface Otel {
  resource: Resource
  scope: { name: string; version: string }
}

export function otelOf(attributes: Record<string, string>, version: string): Otel {
  return {
    resource: resourceFromAttributes({ 'service.version': version, ...attributes }),
    scope: { name: 'vm0', version },
  }
}

/** They read address, headers, time-out and compression from the standard variables. */
export const exporters = {
  traces: (protocol: OtlpProtocol): TraceExporter =>
    protocol === 'http/json' ? new JsonTraces() : new ProtobufTraces(),
  logs: (protocol: OtlpProtocol): LogExporter => (protocol === 'http/json' ? new JsonLogs() : new ProtobufLogs()),
  metrics: (protocol: OtlpProtocol): MetricExporter =>
    protocol === 'http/json' ? new JsonMetrics() : new ProtobufMetrics(),
}

/** Seconds and nanoseconds. */
export function hrTime(ms: number): [number, number] {
  const micros = Math.round(ms * 1000)
  return [Math.floor(micros / 1e6), (micros % 1e6) * 1000]
}

/** How an export went. The exporter ends each by itself: it has a time-out, and tries so long again what may be tried again. */
export function exported<T>(
  exporter: { export(items: T, onResult: (result: { code: number; error?: Error }) => void): void },
  items: T,
): Promise<SendResult> {
  return new Promise((resolve) => {
    exporter.export(items, ({ code, error }) => {
      if (code === 0) return resolve('taken')
      const status = (error as { code?: unknown } | undefined)?.code
      resolve(typeof status === 'number' && status >= 400 && status < 500 ? 'refused' : 'unreachable')
    })
  })
}
