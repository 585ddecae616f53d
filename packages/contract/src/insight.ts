import { z } from 'zod'
import { blamedSchema, sceneProcessSchema, sceneSchema, uncommittedSchema } from './scene.js'

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
    'process',
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
  /** 32 hexadecimal digits: the caller's, or the run's own id. */
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  /** The caller's span that the run belongs to. */
  remoteParentId: z.string().nullable(),
  runId: z.string(),
  sessionId: z.string(),
  startTime: z.iso.datetime(),
  /** Until the run's end, or until the last event of one that goes on. */
  durationMs: z.number(),
  spans: z.array(spanSchema),
  /** What the sandbox had in use while the agent was at work, at most 2,000 points; null where nothing was recorded. */
  memory: z
    .object({
      limitBytes: z.number(),
      peakBytes: z.number(),
      points: z.array(z.object({ atMs: z.number(), bytes: z.number() })),
    })
    .nullable(),
})
export type Trace = z.infer<typeof traceSchema>

export const traceQuerySchema = z.strictObject({
  /** `otlp`: OTLP/JSON for any OpenTelemetry collector; `perfetto`: a Chrome trace for ui.perfetto.dev; `html`: a page to send. */
  format: z.enum(['json', 'otlp', 'perfetto', 'html']).default('json'),
})
export type TraceFormat = z.infer<typeof traceQuerySchema>['format']

/** A run told by rules: the same run is always told in the same words. */
export const storySchema = z.object({
  line: z.string(),
  paragraph: z.string(),
  steps: z.array(
    z.object({
      text: z.string(),
      startMs: z.number(),
      durationMs: z.number(),
      /** The first and the last event that it tells of. */
      cursors: z.array(z.string()),
    }),
  ),
})
export type Story = z.infer<typeof storySchema>

export const evidenceSchema = z.object({
  text: z.string(),
  /** The event that shows it. */
  cursor: z.string().optional(),
})
export type Evidence = z.infer<typeof evidenceSchema>

/** Something about how an agent worked that can be changed. */
export const findingSchema = z.object({
  /** Such as `cmd.repeat_fail`; docs/insight.md lists them. */
  kind: z.string(),
  severity: z.enum(['info', 'warning']),
  text: z.string(),
  evidence: z.array(evidenceSchema),
  /** What to change, and the text for it, ready to use. */
  adjust: z.object({
    where: z.enum(['CLAUDE.md', 'template', 'resources', 'limits', 'permissions', 'model', 'prompt', 'host']),
    text: z.string(),
  }),
})
export type Finding = z.infer<typeof findingSchema>

/** The sandbox as it was recorded at what the cause rests on. */
export const reportSchema = z.object({
  /** Of the event that has it. */
  cursor: z.string(),
  time: z.iso.datetime(),
  trigger: z.enum(['out_of_memory', 'process_limit', 'disk_full', 'cpu_starved', 'agent_ended', 'agent_silent']),
  /** Of `out_of_memory`: what became of it. */
  action: z.string().nullable(),
  blamed: blamedSchema.nullable(),
  scene: sceneSchema,
  waiting: z.array(z.object({ process: sceneProcessSchema, place: z.string() })),
  unanswered: z.array(z.string()),
  /** Files that no checkpoint had at that moment. */
  uncommitted: uncommittedSchema,
})
export type Report = z.infer<typeof reportSchema>

export const whySchema = z.object({
  runId: z.string(),
  state: z.string(),
  reason: z.string().nullable(),
  /** The cause in one sentence. */
  cause: z.string(),
  /** How sure it is: told by the platform itself, or inferred from what was seen. */
  certainty: z.enum(['known', 'inferred', 'unknown']),
  /** What was at work when the run ended; null where nothing was. */
  culprit: z
    .object({
      text: z.string(),
      toolId: z.string().nullable(),
      command: z.string().nullable(),
      runningMs: z.number(),
      /** The last lines that it, or where it said nothing the agent, wrote. */
      lastOutput: z.array(z.string()),
    })
    .nullable(),
  /** What to do, the most useful first. */
  next: z.array(z.string()),
  evidence: z.array(evidenceSchema),
  report: reportSchema.nullable(),
  findings: z.array(findingSchema),
  story: storySchema,
})
export type Why = z.infer<typeof whySchema>

const threshold = z.coerce.number().positive().max(1e12).optional()

/** From where on something is a finding; docs/insight.md says what each is. Those that aren't given are the usual ones. */
export const thresholdsSchema = z.strictObject({
  exactRepeats: threshold,
  cycleRepeats: threshold,
  stagnantCalls: threshold,
  failingRepeats: threshold,
  pollGapMs: threshold,
  thrashEdits: threshold,
  thrashCalls: threshold,
  rereads: threshold,
  absentFiles: threshold,
  denials: threshold,
  testRunMs: threshold,
  floodChars: threshold,
  contextWindowTokens: threshold,
  contextFull: threshold,
  compactionLoss: threshold,
  compactionCalls: threshold,
  cacheHitRate: threshold,
  cachedPromptTokens: threshold,
  cacheRequests: threshold,
  costSpikeFactor: threshold,
  costSpikeUsd: threshold,
  costSpikeRequests: threshold,
  retries: threshold,
  retryWindowMs: threshold,
})
export type Thresholds = z.infer<typeof thresholdsSchema>
