import { z } from 'zod'
import { checkpointIdSchema, idSchema } from './runs.js'

/** What a checkpoint was made after: a run's end, a batch of its tool calls, a command, a close, idleness, a person's wish, the import of a file, or a move to another template. */
export const checkpointCauses = ['run', 'tool', 'exec', 'close', 'idle', 'manual', 'import', 'upgrade'] as const

export const checkpointSchema = z.object({
  id: checkpointIdSchema,
  sessionId: idSchema,
  /** The run that led to it; null where none did. */
  runId: idSchema.nullable(),
  /** The checkpoint that it follows on, which is another session's for the first one of a fork; null for the first of all. */
  parent: checkpointIdSchema.nullable(),
  cause: z.enum(checkpointCauses),
  /** The run's outcome, of one that was made at a run's end. */
  outcome: z.string().nullable(),
  name: z.string().nullable(),
  /** The tool calls since the checkpoint before, of one that was made within a run. */
  toolCalls: z.array(z.object({ id: z.string(), name: z.string(), title: z.string() })),
  /** Files that are new, changed or gone since the checkpoint before. */
  changedFiles: z.int(),
  /** Of what it added to the store, before compression. */
  sizeBytes: z.int(),
  /** Whether the session stands here: what its next run begins with. */
  isHead: z.boolean(),
  /** Sessions that were forked from it. */
  forks: z.array(idSchema),
  createdAt: z.iso.datetime(),
})
export type CheckpointView = z.infer<typeof checkpointSchema>
export type CheckpointCause = CheckpointView['cause']

export const createCheckpointSchema = z.strictObject({ name: z.string().min(1).max(100).optional() })
export type CreateCheckpoint = z.input<typeof createCheckpointSchema>

export const rollbackSchema = z.strictObject({ checkpoint: checkpointIdSchema })

export const checkpointPageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  before: checkpointIdSchema.optional(),
})
