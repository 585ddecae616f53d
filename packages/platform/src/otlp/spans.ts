import type { Span, Trace, Vm0Event } from '@vm0/contract'
import { earlierNames, names } from '@vm0/insight'
import { hrTime, type Otel, type ReadableSpan } from './library.js'
import type { ExportContext } from './run-context.js'

type Attributes = Span['attributes']

const internal = 0
const client = 2
const maxContentChars = 64 * 1024

/** Texts that are the platform's or the driver's, from a short list, or an id. All others are content: new ones too. */
const plainTexts: ReadonlySet<string> = new Set([
  names.operation,
  names.agent,
  names.conversation,
  names.provider,
  names.model,
  names.responseId,
  names.tool,
  names.toolCall,
  names.errorType,
  names.path,
  names.run,
  names.outcome,
  names.startKind,
  names.sandbox,
  names.template,
  names.agentVersion,
  names.toolKind,
  names.decision,
  names.trigger,
  names.checkpoint,
  names.cause,
  names.oomAction,
  names.oomDetected,
  'exception.type',
])

/** What calls and turns were about, for a project that lets it out. Read with the trace, event by event. */
export class SpanContent {
  private readonly byCursor = new Map<string, [name: string, text: string]>()

  add(event: Vm0Event): void {
    const found = contentOf(event)
    if (found) this.byCursor.set(event.cursor, found)
  }

  of({ cursors }: Span): [name: string, text: string][] {
    return cursors.flatMap((cursor) => {
      const found = this.byCursor.get(cursor)
      return found ? [found] : []
    })
  }
}

function contentOf(event: Vm0Event): [name: string, text: string] | undefined {
  if (event.type === 'tool.started') return ['gen_ai.tool.call.arguments', JSON.stringify(event.input) ?? '']
  if (event.type === 'tool.finished') return ['gen_ai.tool.call.result', event.output]
  if (event.type === 'agent.finished') return ['gen_ai.output.messages', event.text]
  return undefined
}

/** The spans of a trace as the SDK has them, with what the project's policy lets out. */
export function spansOf(trace: Trace, context: ExportContext, written: SpanContent, otel: Otel): ReadableSpan[] {
  const baseMs = Date.parse(trace.startTime)
  const at = (ms: number): [number, number] => hrTime(baseMs + ms)
  return trace.spans.map((span) => {
    // What has no end ends where the trace does, and is marked.
    const endMs = span.durationMs === null ? Math.max(trace.durationMs, span.startMs) : span.startMs + span.durationMs
    const parentId = span.parentId ?? trace.remoteParentId
    const spanContext = { traceId: trace.traceId, spanId: span.id, traceFlags: 1 }
    return {
      // A process is called by its program.
      name: span.kind === 'process' && context.capture !== 'full' ? 'process' : context.redact(span.name),
      kind: span.kind === 'model' || span.kind === 'start' ? client : internal,
      spanContext: () => spanContext,
      ...(parentId === null
        ? {}
        : { parentSpanContext: { ...spanContext, spanId: parentId, isRemote: span.parentId === null } }),
      startTime: at(span.startMs),
      endTime: at(endMs),
      duration: hrTime(endMs - span.startMs),
      ended: true,
      status: { code: span.status === 'error' ? 2 : span.status === 'ok' ? 1 : 0 },
      attributes: {
        ...letOut(span.attributes, context),
        ...(span.durationMs === null ? { [names.endInferred]: true } : {}),
        ...(context.capture === 'full' ? contentAttributes(span, context, written) : {}),
      },
      links: [],
      events: span.events.map(({ name, atMs, attributes }) => ({
        name,
        time: at(atMs),
        attributes: letOut(attributes, context),
        droppedAttributesCount: 0,
      })),
      resource: otel.resource,
      instrumentationScope: otel.scope,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    }
  })
}

function contentAttributes(span: Span, { prompt, redact }: ExportContext, written: SpanContent): Attributes {
  const asked: [string, string][] =
    span.kind === 'run' && prompt !== undefined ? [['gen_ai.input.messages', prompt]] : []
  return Object.fromEntries(
    [...asked, ...written.of(span)].map(([name, text]) => [name, redact(text).slice(0, maxContentChars)]),
  )
}

/** Under the names of today, and those that most backends still read. */
function letOut(attributes: Attributes, { capture, redact }: ExportContext): Attributes {
  const told = Object.entries(attributes)
    .filter(([name, value]) => capture === 'full' || typeof value !== 'string' || plainTexts.has(name))
    .map(([name, value]): [string, Attributes[string]] => [name, typeof value === 'string' ? redact(value) : value])
  const earlier = told.flatMap(([name, value]): [string, Attributes[string]][] => {
    const old = earlierNames[name]
    return old ? [[old, value]] : []
  })
  return Object.fromEntries([...told, ...earlier])
}
