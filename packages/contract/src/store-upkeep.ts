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

/** A master key of the installation, and what is sealed under it; the key itself never leaves the server's host. */
export const encryptionKeySchema = z.object({
  id: z.string(),
  /** It seals what is written from now on. The others only open. */
  newest: z.boolean(),
  /** Layers and manifests of the store. */
  objects: z.int(),
  /** Prompts, results and titles of tool calls in the database. */
  rows: z.int(),
  /** Sandboxes that began under it: their records are sealed until they end. */
  sandboxes: z.int(),
})
export const encryptionReportSchema = z.object({
  /** The newest first. One that is not here any more, though something is sealed under it, is in `missing`. */
  keys: z.array(encryptionKeySchema),
  missing: z.array(encryptionKeySchema),
  /** Layers and manifests that are not sealed: all, in a store that is a local folder. */
  unsealedObjects: z.int().nullable(),
})
export type EncryptionKey = z.infer<typeof encryptionKeySchema>
export type EncryptionReport = z.infer<typeof encryptionReportSchema>

const encryptionKeyId = z.string().regex(/^[0-9a-f]{16}$/, 'expected 16 hex digits')
export const resealRequestSchema = z.strictObject({
  /** Make another key first. */
  newKey: z.boolean().default(false),
})
export const dropKeyRequestSchema = z.strictObject({ id: encryptionKeyId })

export const resealReportSchema = z.object({
  /** The key that everything is under now. */
  key: z.string(),
  objects: z.int(),
  bytes: z.int(),
  rows: z.int(),
  /** What could not be opened, and so is under its old key still. */
  problems: z.array(z.string()),
})
export type ResealReport = z.infer<typeof resealReportSchema>

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

/** One line of the NDJSON answer of POST /v1/store/encryption, `/reseal` and `/drop`. */
export const encryptionOutputSchema = z.discriminatedUnion('type', [
  progress,
  z.object({ type: z.literal('keys'), report: encryptionReportSchema }),
  z.object({ type: z.literal('resealed'), report: resealReportSchema }),
  z.object({ type: z.literal('dropped'), id: encryptionKeyId }),
  failed,
])
export type EncryptionOutput = z.infer<typeof encryptionOutputSchema>

export interface UpkeepCall {
  onProgress(message: string): void
  /** Ends it between two objects; what was done by then stays done. */
  signal: AbortSignal
}

/** What a server asks of whoever holds the store. One is at work at a time. */
export interface StoreUpkeep {
  fsck(options: { deep: boolean }, call: UpkeepCall): Promise<StoreReport>
  gc(options: { graceMs: number; dryRun: boolean }, call: UpkeepCall): Promise<GcReport>
  /** Which master keys there are, and what is sealed under each. */
  encryption(call: UpkeepCall): Promise<EncryptionReport>
  /** Seals everything under the newest key, which may be made first. May be broken off and begun again. */
  reseal(options: { newKey: boolean }, call: UpkeepCall): Promise<ResealReport>
  /** Forgets an older key. Throws ENCRYPTION_KEY_IN_USE while anything is sealed under it. */
  dropKey(id: string, call: UpkeepCall): Promise<void>
}

/** What `vm0 fsck --rebuild` made of the store alone. */
export interface RebuildReport {
  /** Rows that were made; those that were there stay as they are. */
  projects: number
  sessions: number
  checkpoints: number
  templates: number
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
