import { z } from 'zod'

/** What is at a path of a checkpoint. */
export const diffSideSchema = z.object({
  type: z.enum(['file', 'directory', 'symlink', 'other']),
  /** Of files and links; 0 for the rest. */
  sizeBytes: z.int(),
  mode: z.int(),
})
export type DiffSide = z.infer<typeof diffSideSchema>

export const diffEntrySchema = z.object({
  path: z.string(),
  change: z.enum(['added', 'changed', 'removed']),
  /** Null where nothing was, or is, at the path. */
  before: diffSideSchema.nullable(),
  after: diffSideSchema.nullable(),
  /** False where only mode, owner or attributes are others. */
  contentChanged: z.boolean(),
  /** The hunks of a unified diff, where they were asked for and the content is text. */
  patch: z.string().optional(),
  /** Why there are none: no text, larger than 1 MiB, or no file (a device, a pipe, a folder) or not the same kind of thing. */
  patchLeftOut: z.enum(['binary', 'large', 'special']).optional(),
})
export type DiffEntry = z.infer<typeof diffEntrySchema>

/** What a checkpoint has that another one has not, or has otherwise. */
export const checkpointDiffSchema = z.object({
  checkpoint: z.string(),
  /** The other one; null: the template. */
  against: z.string().nullable(),
  /** Folders before what is in them, names in the order of their bytes. */
  items: z.array(diffEntrySchema),
  /** What `after` takes to get the next page; null at the end. */
  next: z.string().nullable(),
  /** Files outside of the path that differ, at most 10,000; null where they weren't counted, as on later pages. */
  elsewhere: z.int().nullable(),
})
export type CheckpointDiff = z.infer<typeof checkpointDiffSchema>

const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true')

/** In full, or its beginning. */
const checkpointNameSchema = z
  .string()
  .regex(/^(sha256:)?[0-9a-f]{8,64}$/, 'expected a checkpoint id: sha256:…, or eight or more of its characters')

export const diffParamsSchema = z.object({ id: checkpointNameSchema })
export const diffQuerySchema = z.strictObject({
  /** By default what it was before the run that made it, or the checkpoint before it. */
  against: checkpointNameSchema.optional(),
  /** An absolute path: this one, and what is below it. Default /workspace. */
  path: z.string().startsWith('/', 'expected an absolute path').max(4096).default('/workspace'),
  /** With a unified diff of each text file. */
  patch: flag,
  limit: z.coerce.number().int().min(1).max(1000).default(200),
  after: z
    .string()
    .max(8192)
    .regex(/^[\w-]*$/, 'expected `next` of the page before')
    .optional(),
})
export type DiffQuery = z.input<typeof diffQuerySchema>

/** One page of a comparison; `before` is a checkpoint, or null for the template of `after`. Both belong to the project. */
export interface DiffRequest {
  projectId: string
  before: string | null
  after: string
  path: string
  patch: boolean
  limit: number
  /** `next` of the page before. */
  cursor: string | undefined
}

/** Compares checkpoints: whoever has their layers at hand. */
export interface DiffPort {
  diff(request: DiffRequest, signal: AbortSignal): Promise<Omit<CheckpointDiff, 'checkpoint' | 'against'>>
}
