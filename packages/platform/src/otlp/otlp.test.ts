import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMetrics } from '../metrics/index.js'
import { ExportQueue, type SendResult } from './export-queue.js'
import { hrTime, otelOf } from './library.js'
import { resourceMetricsOf } from './metric-data.js'
import { secretValues } from '@vm0/insight'
import { otlpSettings } from './settings.js'

test('without a collector nothing is exported; one line names it for all signals', () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }
  expect(otlpSettings({})).toBeUndefined()
  expect(otlpSettings({ ...endpoint, OTEL_SDK_DISABLED: 'true' })).toBeUndefined()
  const all = 'http/protobuf'
  expect(otlpSettings(endpoint)).toEqual({
    protocols: { traces: all, metrics: all, logs: all },
    metricIntervalMs: 60_000,
    attributes: { 'service.name': 'vm0' },
  })
})

test('each signal may go elsewhere, in another form, or nowhere', () => {
  const settings = otlpSettings({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://traces.example/v1/traces',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'http/json',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=a%20b, x = y ,nonsense',
    OTEL_SERVICE_NAME: 'mine',
  })
  expect(settings).toMatchObject({
    protocols: { traces: 'http/protobuf', logs: 'http/json' },
    attributes: { 'service.name': 'mine', 'deployment.environment': 'a b', x: 'y' },
  })
  expect(settings!.protocols).not.toHaveProperty('metrics')
})

test('what can not be done is told at the start, with the variable that asks for it', () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }
  expect(() => otlpSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: '127.0.0.1:4318' })).toThrow(
    'OTEL_EXPORTER_OTLP_ENDPOINT is',
  )
  expect(() => otlpSettings({ ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })).toThrow('expected http/protobuf')
  expect(() => otlpSettings({ ...endpoint, OTEL_METRIC_EXPORT_INTERVAL: '1' })).toThrow('expected milliseconds')
})

test('everything that is added is exported in order, or counted as dropped; what waits is bounded', async () => {
  const results = fc.array(fc.constantFrom<SendResult | 'throws'>('taken', 'refused', 'unreachable', 'throws'))
  await fc.assert(
    fc.asyncProperty(results, fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 }), async (plan, items) => {
      const sent: number[] = []
      let [taken, dropped] = [0, 0]
      const queue = new ExportQueue<number>({
        maxItems: 10,
        maxBytes: 100,
        batchItems: 3,
        delayMs: 1,
        sizeOf: (size) => size,
        send: async (batch) => {
          expect(batch.length).toBeLessThanOrEqual(3)
          sent.push(...batch)
          await new Promise((resolve) => setImmediate(resolve))
          const result = plan.shift() ?? 'taken'
          if (result === 'throws') throw new Error('x')
          return result
        },
        onExported: (count) => (taken += count),
        onDropped: (_reason, count) => (dropped += count),
      })
      for (const [index, item] of items.entries()) {
        queue.add(item)
        if (index % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      await queue.close(10_000)
      expect(taken + dropped).toBe(items.length)
      const rest = [...items]
      for (const each of sent) rest.splice(0, rest.indexOf(each) + 1)
      queue.add(1)
      expect(taken + dropped).toBe(items.length + 1)
    }),
    { numRuns: 50 },
  )
})

test('a collector that hangs holds one batch and a full buffer; whoever adds goes on, and closing has an end', async () => {
  const drops: Record<string, number> = {}
  const queue = new ExportQueue<string>({
    maxItems: 5,
    maxBytes: Infinity,
    batchItems: 1,
    delayMs: 0,
    sizeOf: () => 0,
    send: () => new Promise(() => undefined),
    onExported: () => undefined,
    onDropped: (reason, count) => (drops[reason] = (drops[reason] ?? 0) + count),
  })
  for (let item = 0; item < 100; item += 1) queue.add('x')
  expect(drops).toEqual({ buffer_full: 94 })
  await queue.close(1)
  expect(drops).toEqual({ buffer_full: 94, unreachable: 5 })
})

test('metrics have the same values in OTLP: counts between bounds, sums, points by labels', async () => {
  const metrics = createMetrics()
  metrics.add('vm0_runs_finished_total', { project: 'p', outcome: 'died', reason: 'out_of_memory' }, 2)
  for (const ms of [3, 4, 900]) metrics.observe('vm0_checkpoint_duration_seconds', { cause: 'run' }, ms / 1000)
  const { scopeMetrics } = await resourceMetricsOf(metrics, 1_000, otelOf({}, '1'))
  const named = (name: string) => scopeMetrics[0]!.metrics.find(({ descriptor }) => descriptor.name === name)
  expect(named('vm0_runs_finished_total')).toMatchObject({
    isMonotonic: true,
    dataPoints: [{ value: 2, attributes: { outcome: 'died' }, startTime: [1, 0] }],
  })
  const histogram = named('vm0_checkpoint_duration_seconds')
  expect(histogram).toMatchObject({ descriptor: { unit: 's' }, dataPoints: [{ value: { count: 3 } }] })
  const { buckets, sum } = histogram!.dataPoints[0]!.value as unknown as {
    buckets: { counts: number[]; boundaries: number[] }
    sum: number
  }
  expect(sum).toBeCloseTo(0.907, 10)
  expect(buckets.counts.length).toBe(buckets.boundaries.length + 1)
  expect(buckets.counts.reduce((all, each) => all + each, 0)).toBe(3)
  expect(buckets.counts[0]).toBe(2)
})

test('times have whole nanoseconds; secrets are the values of environments and headers', () => {
  expect(hrTime(1_767_323_045_123.4)).toEqual([1_767_323_045, 123_400_000])
  const values = secretValues({
    env: { A: 'a' },
    mcpServers: {
      x: { command: 'x', env: { B: 'b' } },
      y: { type: 'http', url: 'http://y', headers: { C: 'c' } },
      z: { command: 'z' },
    },
  })
  expect(values).toEqual(['a', 'b', 'c'])
})
