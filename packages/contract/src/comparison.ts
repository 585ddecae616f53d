import { z } from 'zod'
import { idSchema, labelFilterSchema, runSchema } from './runs.js'

/** A number with its 95% interval; null where there are too few values for one. */
export const estimateSchema = z.object({
  value: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  /** Of how many runs it is. */
  n: z.int(),
})
export type Estimate = z.infer<typeof estimateSchema>

/** What runs are put together by: a label of theirs, the template, the agent and its version, or the model that answered. */
export const cohortKeySchema = z.union([
  z.enum(['template', 'release', 'model']),
  z.templateLiteral(['label:', z.string().min(1).max(64)]),
])
export type CohortKey = z.infer<typeof cohortKeySchema>

export const cohortSchema = z.object({
  /** '' of runs that don't have the label. */
  value: z.string(),
  runs: z.int(),
  /** Whether they are enough to say something. */
  enough: z.boolean(),
  success: estimateSchema,
  died: estimateSchema,
  /** Why those ended that did not succeed. */
  reasons: z.record(z.string(), z.int()),
  durationMs: estimateSchema.extend({ median: z.number().nullable(), p95: z.number().nullable() }),
  costUsd: estimateSchema,
  tokens: estimateSchema,
  toolCalls: estimateSchema,
  toolFailures: estimateSchema,
  /** Kinds of findings, with the share of runs that have one. */
  findings: z.array(z.object({ kind: z.string(), runs: z.int(), share: estimateSchema })),
  /** What is more than in the first cohort, which has none. */
  difference: z.object({ success: estimateSchema, durationMs: estimateSchema, costUsd: estimateSchema }).nullable(),
})
export type Cohort = z.infer<typeof cohortSchema>

export const insightsQuerySchema = z.strictObject({
  by: cohortKeySchema,
  /** Only runs that were asked for at this time or later. */
  since: z.iso.datetime().optional(),
  /** Only runs with this label: `name=value`. */
  label: labelFilterSchema.optional(),
  /** At most so many of the newest runs that have ended. */
  limit: z.coerce.number().int().min(1).max(1000).default(200),
})
export type InsightsQuery = z.input<typeof insightsQuerySchema>

export const insightsSchema = z.object({
  by: z.string(),
  runs: z.int(),
  /** There are more that fit: only the newest were looked at. */
  more: z.boolean(),
  /** The largest first. */
  cohorts: z.array(cohortSchema),
})
export type Insights = z.infer<typeof insightsSchema>

const pair = <T extends z.ZodType>(value: T) => ({ a: value, b: value })
const headSchema = z.object({ id: idSchema, state: z.string(), reason: z.string().nullable() })
const callEndSchema = z.object({
  toolId: z.string(),
  ok: z.boolean().nullable(),
  exitCode: z.int().nullable(),
  durationMs: z.number(),
})

/** Two runs beside each other. */
export const comparisonSchema = z.object({
  ...pair(headSchema),
  /** What they were given that is not the same. */
  settings: z.array(z.object({ name: z.string(), ...pair(z.string().nullable()) })),
  figures: z.array(z.object({ name: z.string(), ...pair(z.number()) })),
  /** How often each kind was found. */
  findings: z.array(z.object({ kind: z.string(), ...pair(z.int()) })),
  /** Tool calls by what was called: those of both in their common order, and the others between them. */
  calls: z.array(
    z.object({
      in: z.enum(['both', 'a', 'b']),
      title: z.string(),
      ...pair(callEndSchema.nullable()),
    }),
  ),
})
export type Comparison = z.infer<typeof comparisonSchema>

/** A run again, from one of its tool calls on: what isn't given is as it was. */
export const replaySchema = z.strictObject({
  id: idSchema.optional(),
  /** Of the session that it makes. */
  sessionId: idSchema.optional(),
  /** The call's id, its end, or its number from 1. */
  from: z.string().min(1).max(200),
  prompt: z.string().min(1).optional(),
  model: z.string().min(1).max(200).optional(),
  labels: z.record(z.string().min(1).max(64), z.string().max(256)).optional(),
})
export type Replay = z.input<typeof replaySchema>

export const replayedSchema = runSchema.extend({
  replay: z.object({
    of: idSchema,
    toolId: z.string(),
    /** Where it begins; null: with nothing, as the run did. */
    checkpoint: z.string().nullable(),
    /** Calls between that state and the one that was named: they are done anew too. */
    callsBetween: z.int(),
  }),
})
export type ReplayedRun = z.infer<typeof replayedSchema>
