import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry, type OpenMetricsContentType } from 'prom-client'
import { counters, gauges, histograms } from './names.js'

type Labels = Record<string, string>

/** What a metric leads to: a run of which the value is, and its trace where that is known. */
export interface Exemplar {
  run_id: string
  /** Of the caller, where the run goes on with a trace of its caller. */
  trace_id?: string
}

/** The metrics of one platform process, by name. */
export interface Metrics {
  readonly registry: Registry<OpenMetricsContentType>
  add(name: keyof typeof counters, labels: Labels, value?: number, exemplar?: Exemplar): void
  observe(name: keyof typeof histograms, labels: Labels, value: number, exemplar?: Exemplar): void
  set(name: keyof typeof gauges, labels: Labels, value: number): void
  /** `read` is called before each scrape, to bring gauges up to date. */
  beforeScrape(read: () => Promise<void>): void
  /** As OpenMetrics text. */
  text(): Promise<string>
  /** The same as objects. */
  json(): Promise<readonly object[]>
}

export function createMetrics(): Metrics {
  const registry = new Registry<OpenMetricsContentType>()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const each = <T, M>(table: Record<string, T>, make: (name: string, entry: T) => M): Map<string, M> =>
    new Map(Object.entries(table).map(([name, entry]) => [name, make(name, entry)]))
  const counterOf = each(
    counters,
    (name, { help, labels: labelNames }) =>
      new Counter<string>({ name, help, labelNames: [...labelNames], registers, enableExemplars: true }),
  )
  const histogramOf = each(
    histograms,
    (name, { help, labels: labelNames, buckets }) =>
      new Histogram<string>({
        name,
        help,
        labelNames: [...labelNames],
        buckets: [...buckets],
        registers,
        enableExemplars: true,
      }),
  )
  const gaugeOf = each(
    gauges,
    (name, { help, labels: labelNames }) => new Gauge<string>({ name, help, labelNames: [...labelNames], registers }),
  )
  const readings: (() => Promise<void>)[] = []
  return {
    registry,
    add(name, labels, value = 1, exemplar) {
      counterOf.get(name)?.inc({ labels, value, ...(exemplar ? { exemplarLabels: { ...exemplar } } : {}) })
    },
    observe(name, labels, value, exemplar) {
      histogramOf.get(name)?.observe({ labels, value, ...(exemplar ? { exemplarLabels: { ...exemplar } } : {}) })
    },
    set(name, labels, value) {
      gaugeOf.get(name)?.set(labels, value)
    },
    beforeScrape(read) {
      readings.push(read)
    },
    async json() {
      await Promise.all(readings.map((read) => read()))
      return registry.getMetricsAsJSON()
    },
    async text() {
      await Promise.all(readings.map((read) => read()))
      return registry.metrics()
    },
  }
}
