import { z } from 'zod'
import { envelopeSchema, eventSchema } from './events.js'

/** Who told it: the agent, the sandbox (kernel and resources), the gateway (model requests), the runner, the server. */
export const logSourceSchema = z.enum(['agent', 'sandbox', 'gateway', 'runner', 'server'])
export type LogSource = z.infer<typeof logSourceSchema>
export const logLevelSchema = z.enum(['debug', 'info', 'warn', 'error'])
export type LogLevel = z.infer<typeof logLevelSchema>

/** What the platform says of a run beside its events: no part of them, and kept within bounds. */
export const runLineSchema = z.object({
  time: z.iso.datetime(),
  source: z.enum(['sandbox', 'runner', 'server']),
  level: logLevelSchema,
  text: z.string(),
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
})
export type RunLine = z.infer<typeof runLineSchema>

/** How far both are read: the cursor of the last event, and the number of the last line. */
const logCursor = z.string().regex(/^\d+\.\d+-\d+$/)

/** One entry of a run's timeline: an event of it, or a line of the platform's. */
export const logEntrySchema = z.object({
  /** What `after` takes to go on behind this entry. */
  cursor: logCursor,
  time: z.iso.datetime(),
  source: logSourceSchema,
  level: logLevelSchema,
  /** On one line, cut; `event` has it whole. */
  text: z.string(),
  runId: envelopeSchema.shape.runId,
  sessionId: envelopeSchema.shape.sessionId,
  traceId: z.string(),
  /** Of a line. */
  details: runLineSchema.shape.details.optional(),
  event: eventSchema.optional(),
})
export type LogEntry = z.infer<typeof logEntrySchema>

export const logQuerySchema = z.object({
  after: logCursor.optional(),
  /** Goes on until the run has ended. */
  follow: z.enum(['true', 'false']).default('false'),
  /** Ends after so many. */
  limit: z.coerce.number().int().min(1).max(100_000).optional(),
})
