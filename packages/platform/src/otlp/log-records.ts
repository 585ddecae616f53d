import { spanIdOf, type Vm0Event } from '@vm0/contract'
import { hrTime, type LogRecord, type Otel } from './library.js'
import type { ExportContext } from './run-context.js'

const severities = {
  info: { severityNumber: 9, severityText: 'INFO' },
  warning: { severityNumber: 13, severityText: 'WARN' },
  error: { severityNumber: 17, severityText: 'ERROR' },
  fatal: { severityNumber: 21, severityText: 'FATAL' },
} as const
const maxBodyChars = 64 * 1024

/** Pieces of what comes whole later, and what says nothing by itself. */
const leftOut: ReadonlySet<string> = new Set(['message.delta', 'thinking.delta', 'tool.output', 'raw', 'plan'])

/** Texts that are the platform's or the driver's, from a short list, or an id: nobody's content. */
const plainFields: ReadonlySet<string> = new Set(
  `how kind outcome reason state status model scope cause checkpoint toolId messageId requestId parentToolId subagentId
  code level trigger phase decision by sandboxId template agentVersion agentSessionId path method permissionMode`.split(
    /\s+/,
  ),
)

export function isExported({ type }: Vm0Event): boolean {
  return !leftOut.has(type)
}

/** What an event takes in memory, about. Those that have much in depth are few. */
export function sizeOfEvent(event: Vm0Event): number {
  if (event.type.startsWith('sandbox.') || event.type === 'tool.processes') return JSON.stringify(event).length
  return 300 + charsIn(event) + (event.type === 'tool.started' ? charsIn(event.input) : 0)
}

function charsIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let chars = 0
  for (const each of Object.values(value)) chars += typeof each === 'string' ? each.length : 20
  return chars
}

/** A run's event as a log record of the run's span. */
export function logRecordOf(event: Vm0Event, context: ExportContext, otel: Otel): LogRecord {
  const { run, traceId, redact, capture } = context
  const { v: _, time, runId, sessionId, cursor, type, ...fields } = event
  const attributes: Record<string, string | number | boolean> = {
    'vm0.run.id': runId,
    'gen_ai.conversation.id': sessionId,
    'vm0.event.cursor': cursor,
  }
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'number' || typeof value === 'boolean') attributes[`vm0.${name}`] = value
    else if (typeof value === 'string' && plainFields.has(name)) attributes[`vm0.${name}`] = redact(value.slice(0, 500))
  }
  if (event.type === 'tool.started' || event.type === 'tool.finished')
    attributes['gen_ai.tool.name'] = redact(event.name.slice(0, 200))
  return {
    hrTime: hrTime(Date.parse(time)),
    hrTimeObserved: hrTime(Date.parse(time)),
    spanContext: { traceId, spanId: spanIdOf(run.id, 'run'), traceFlags: 1 },
    ...severities[severityOf(event)],
    eventName: `vm0.${type}`,
    // Redacted before it is cut: half a secret is not found any more.
    body: capture === 'full' ? redact(JSON.stringify(fields)).slice(0, maxBodyChars) : type,
    resource: otel.resource,
    instrumentationScope: otel.scope,
    attributes,
    droppedAttributesCount: 0,
  }
}

function severityOf(event: Vm0Event): keyof typeof severities {
  if (event.type === 'run.finished')
    return event.outcome === 'died' ? 'fatal' : event.outcome === 'failed' ? 'error' : 'info'
  if (event.type === 'error' || event.type === 'sandbox.out_of_memory') return 'error'
  if (event.type === 'run.resumed' || event.type.startsWith('sandbox.disk') || event.type === 'message.abandoned')
    return 'warning'
  if (event.type === 'notice') return event.level
  return 'info'
}
