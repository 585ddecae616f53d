import type { Span, Trace } from '@vm0/contract'
import { earlierNames, names } from './names.js'

const internal = 1
const client = 3

type Value = { stringValue: string } | { intValue: string } | { doubleValue: number } | { boolValue: boolean }
interface KeyValue {
  key: string
  value: Value
}

/** A trace as the body of an OTLP/HTTP export (JSON): any OpenTelemetry collector takes it at /v1/traces. */
export function otlpOf(trace: Trace): object {
  return {
    resourceSpans: [
      {
        resource: { attributes: keyValues({ 'service.name': 'vm0' }) },
        scopeSpans: [{ scope: { name: 'vm0' }, spans: trace.spans.map((span) => otlpSpan(span, trace)) }],
      },
    ],
  }
}

function otlpSpan(span: Span, trace: Trace): object {
  const baseMs = Date.parse(trace.startTime)
  const parentId = span.parentId ?? trace.remoteParentId
  // A span must have an end to be exported: what has none ends where the trace does, and is marked.
  const endMs = span.durationMs === null ? Math.max(trace.durationMs, span.startMs) : span.startMs + span.durationMs
  return {
    traceId: trace.traceId,
    spanId: span.id,
    ...(parentId === null ? {} : { parentSpanId: parentId }),
    name: span.name,
    kind: span.kind === 'model' || span.kind === 'start' ? client : internal,
    startTimeUnixNano: nanoseconds(baseMs + span.startMs),
    endTimeUnixNano: nanoseconds(baseMs + endMs),
    attributes: keyValues(
      span.durationMs === null ? { ...span.attributes, [names.endInferred]: true } : span.attributes,
    ),
    events: span.events.map(({ name, atMs, attributes }) => ({
      name,
      timeUnixNano: nanoseconds(baseMs + atMs),
      attributes: keyValues(attributes),
    })),
    status: span.status === 'error' ? { code: 2 } : span.status === 'ok' ? { code: 1 } : {},
  }
}

function keyValues(attributes: Span['attributes']): KeyValue[] {
  return Object.entries(attributes).flatMap(([key, value]) => {
    const earlier = earlierNames[key]
    return [key, ...(earlier ? [earlier] : [])].map((each) => ({ key: each, value: valueOf(value) }))
  })
}

function valueOf(value: string | number | boolean): Value {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

/** More than a number holds exactly, so through microseconds. */
function nanoseconds(unixMs: number): string {
  return `${Math.round(unixMs * 1000)}000`
}
