import { z } from 'zod'

/** Below it a save could be collected between its upload and the row that names it. */
export const minGraceMs = 60_000
export const defaultGraceMs = 3_600_000

export const fsckRequestSchema = z.strictObject({ deep: z.boolean().default(false) })
export type FsckRequest = z.input<typeof fsckRequestSchema>

/** Something of the store that is missing or isn't what its name says, and what can't be restored because of it. */
export const storeProblemSchema = z.object({
  message: z.string(),
  checkpoints: z.array(z.string()),
  sessions: z.array(
    z.object({
      project: z.string(),
      id: z.string(),
      /** Whether the session itself can't be opened; otherwise only an earlier state of it is hit. */
      head: z.boolean(),
    }),
  ),
})
export type StoreProblem = z.infer<typeof storeProblemSchema>

export const fsckReportSchema = z.object({
  checkpoints: z.int(),
  layers: z.int(),
  templates: z.int(),
  problems: z.array(storeProblemSchema),
})
export type StoreReport = z.infer<typeof fsckReportSchema>

export const gcRequestSchema = z.strictObject({
  /** What was written or named within this time stays, whether or not anything refers to it. */
  graceMs: z
    .int()
    .min(minGraceMs)
    .max(365 * 86_400_000)
    .default(defaultGraceMs),
  /** Only says what would be removed. */
  dryRun: z.boolean().default(false),
})
export type GcRequest = z.input<typeof gcRequestSchema>

export const gcReportSchema = z.object({ removed: z.int(), removedBytes: z.int(), kept: z.int() })
export type GcReport = z.infer<typeof gcReportSchema>

const progress = z.object({ type: z.literal('progress'), message: z.string() })
const failed = z.object({ type: z.literal('error'), code: z.string(), message: z.string(), hint: z.string() })

/** One line of the NDJSON answer of POST /v1/store/fsck. */
export const fsckOutputSchema = z.discriminatedUnion('type', [
  progress,
  z.object({ type: z.literal('checked'), report: fsckReportSchema }),
  failed,
])
export type FsckOutput = z.infer<typeof fsckOutputSchema>

/** One line of the NDJSON answer of POST /v1/store/gc. */
export const gcOutputSchema = z.discriminatedUnion('type', [
  progress,
  z.object({ type: z.literal('collected'), report: gcReportSchema }),
  failed,
])
export type GcOutput = z.infer<typeof gcOutputSchema>

export interface UpkeepCall {
  onProgress(message: string): void
  /** Ends it between two objects; what was done by then stays done. */
  signal: AbortSignal
}

/** What a server asks of whoever holds the store. One is at work at a time. */
export interface StoreUpkeep {
  fsck(options: { deep: boolean }, call: UpkeepCall): Promise<StoreReport>
  gc(options: { graceMs: number; dryRun: boolean }, call: UpkeepCall): Promise<GcReport>
}

/** What `vm0 fsck --rebuild` made of the store alone. */
export interface RebuildReport {
  /** Rows that were made; those that were there stay as they are. */
  projects: number
  sessions: number
  checkpoints: number
  uploads: number
  /** Sessions that don't stand at their newest checkpoint. */
  behind: {
    project: string
    id: string
    /** Null: nothing of it can be restored, and there is no row for it. */
    head: string | null
    newest: string
    /** The newest is damaged, or the row was there and stands elsewhere. */
    why: 'damaged' | 'kept'
  }[]
  problems: { message: string; checkpoints: string[] }[]
  /** A new key of the installation, where none of the old ones is known any more. */
  key: string | null
}
