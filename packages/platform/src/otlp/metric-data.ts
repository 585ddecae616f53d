import { AggregationTemporality, DataPointType } from '@opentelemetry/sdk-metrics'
import type { Metrics } from '../metrics/index.js'
import { hrTime, type Otel, type ResourceMetrics } from './library.js'

type MetricData = ResourceMetrics['scopeMetrics'][number]['metrics'][number]
type HistogramPoint = Extract<MetricData, { dataPointType: DataPointType.HISTOGRAM }>['dataPoints'][number]
type Labels = Record<string, string | number>
type Times = { startTime: [number, number]; endTime: [number, number] }

interface Value {
  value: number
  labels: Labels
  metricName?: string
}
interface Metric {
  name: string
  help: string
  type: string
  values: Value[]
}

/** The metrics that Prometheus would scrape now, as OTLP has them: cumulative since the process began. */
export async function resourceMetricsOf(metrics: Metrics, sinceMs: number, otel: Otel): Promise<ResourceMetrics> {
  const all = (await metrics.json()) as Metric[]
  const times = { startTime: hrTime(sinceMs), endTime: hrTime(Date.now()) }
  return {
    resource: otel.resource,
    scopeMetrics: [{ scope: otel.scope, metrics: all.flatMap((metric) => metricData(metric, times)) }],
  }
}

function metricData({ name, help, type, values }: Metric, times: Times): MetricData[] {
  const unit = /_seconds(_|$)/.test(name) ? 's' : /_bytes(_|$)/.test(name) ? 'By' : ''
  const common = {
    descriptor: {
      // The text form adds it to the names of counters when it is written.
      name: type === 'counter' && !name.endsWith('_total') ? `${name}_total` : name,
      description: help,
      unit,
      valueType: 1,
    },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  }
  const dataPoints = values.map(({ value, labels }) => ({ ...times, attributes: labels, value }))
  if (type === 'counter') return [{ ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }]
  if (type === 'gauge') return [{ ...common, dataPointType: DataPointType.GAUGE, dataPoints }]
  if (type !== 'histogram') return []
  return [{ ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints: histogramPoints(values, times) }]
}

/** Prometheus counts what is at or below each bound, OTLP what lies between two. */
function histogramPoints(values: readonly Value[], times: Times): HistogramPoint[] {
  const series = new Map<string, { attributes: Labels; below: [bound: number, count: number][]; sum: number }>()
  for (const { value, labels, metricName = '' } of values) {
    const { le, ...attributes } = labels
    const key = JSON.stringify(Object.entries(attributes).toSorted())
    const one = series.get(key) ?? { attributes, below: [], sum: 0 }
    series.set(key, one)
    if (metricName.endsWith('_sum')) one.sum = value
    else if (le !== undefined) one.below.push([le === '+Inf' ? Infinity : Number(le), value])
  }
  return [...series.values()].map(({ attributes, below, sum }) => {
    const sorted = below.toSorted(([a], [b]) => a - b)
    const counts = sorted.map(([, count], index) => count - (sorted[index - 1]?.[1] ?? 0))
    const boundaries = sorted.map(([bound]) => bound).filter((bound) => bound !== Infinity)
    return { ...times, attributes, value: { buckets: { boundaries, counts }, sum, count: sorted.at(-1)?.[1] ?? 0 } }
  })
}
