import { z } from 'zod'

const attributesSchema = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))

export const spanSchema = z.object({
  /** 16 hexadecimal digits, the same each time the trace is made. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** Null for the run itself. */
  parentId: z.string().nullable(),
  kind: z.enum([
    'run',
    'queue',
    'start',
    'turn',
    'model',
    'tool',
    'subagent',
    'permission',
    'compaction',
    'hook',
    'checkpoint',
  ]),
  name: z.string(),
  /** Since the run was asked for. */
  startMs: z.number(),
  /** Null where it has no end: it goes on, or the run ended in the middle of it. */
  durationMs: z.number().nullable(),
  status: z.enum(['ok', 'error', 'open']),
  /** Names as the OpenTelemetry GenAI conventions have them, `vm0.…` for what they don't know. */
  attributes: attributesSchema,
  events: z.array(z.object({ name: z.string(), atMs: z.number(), attributes: attributesSchema })),
  /** The events of the run that tell of its begin and end. */
  cursors: z.array(z.string()),
})
export type Span = z.infer<typeof spanSchema>

/** A run as spans: parents before their children, otherwise in the order in which they began. */
export const traceSchema = z.object({
  /** 32 hexadecimal digits. */
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  runId: z.string(),
  sessionId: z.string(),
  startTime: z.iso.datetime(),
  /** Until the run's end, or until the last event of one that goes on. */
  durationMs: z.number(),
  spans: z.array(spanSchema),
})
export type Trace = z.infer<typeof traceSchema>

export const traceQuerySchema = z.strictObject({
  /** `otlp`: OTLP/JSON for any OpenTelemetry collector; `perfetto`: a Chrome trace for ui.perfetto.dev. */
  format: z.enum(['json', 'otlp', 'perfetto']).default('json'),
})
export type TraceFormat = z.infer<typeof traceQuerySchema>['format']
