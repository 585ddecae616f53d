import { z } from 'zod'
import { idSchema } from './runs.js'

/**
 * What a key may do. `read` looks, `write` changes sessions and runs (and runs commands in them), `admin` makes and revokes
 * keys of its own project, `installation` makes projects and keys in any of them.
 */
export const scopes = ['read', 'write', 'admin', 'installation'] as const
export const scopeSchema = z.enum(scopes)
export type Scope = z.infer<typeof scopeSchema>

/** Ten years: longer is "never", which leaving it out means. */
const maxKeyMs = 10 * 365 * 86_400_000
/** A token lies in a browser: one that leaks is of use for an hour at most. */
export const maxTokenMs = 3_600_000

/** Part of file names and of URLs, so narrower than a name has to be. */
export const projectIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected 1 to 63 lower-case letters, digits and "-"')

export const createKeySchema = z.strictObject({
  name: z.string().min(1).max(64),
  scopes: z.array(scopeSchema).min(1).max(scopes.length).default(['read', 'write']),
  /** Without it the key is valid until it is revoked. */
  expiresInMs: z.int().min(1000).max(maxKeyMs).optional(),
  /** Another project than the caller's: only with the scope `installation`. */
  projectId: projectIdSchema.optional(),
})
export type CreateKey = z.input<typeof createKeySchema>
export type CreateKeyParsed = z.infer<typeof createKeySchema>

export const keySchema = z.object({
  id: z.string(),
  name: z.string(),
  project: z.string(),
  scopes: z.array(scopeSchema),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().nullable(),
  revokedAt: z.iso.datetime().nullable(),
  /** The key itself: in the answer that makes it, and never again. */
  key: z.string().optional(),
})
export type KeyView = z.infer<typeof keySchema>

/** A token reads runs and sessions, and follows events: of the whole project, of one session, or of one run. */
export const createTokenSchema = z
  .strictObject({
    sessionId: idSchema.optional(),
    runId: idSchema.optional(),
    expiresInMs: z.int().min(1000).max(maxTokenMs).default(600_000),
  })
  .refine((body) => !(body.sessionId && body.runId), 'expected sessionId or runId, not both')
export type CreateToken = z.input<typeof createTokenSchema>
export type CreateTokenParsed = z.infer<typeof createTokenSchema>

export const tokenSchema = z.object({
  id: z.string(),
  token: z.string(),
  project: z.string(),
  sessionId: idSchema.nullable(),
  runId: idSchema.nullable(),
  expiresAt: z.iso.datetime(),
})
export type TokenView = z.infer<typeof tokenSchema>

const projectName = z.string().min(1).max(100)
/** What the project's checkpoints may hold; null: without bound. */
const quotaBytes = z.int().min(0).nullable()
export const createProjectSchema = z.strictObject({
  id: projectIdSchema,
  name: projectName.optional(),
  quotaBytes: quotaBytes.optional(),
})
export type CreateProject = z.input<typeof createProjectSchema>

/**
 * What of a project's runs goes out with telemetry (OTLP): nothing; names, sizes, times and outcomes; or prompts, commands and
 * outputs as well, from which secrets were taken out.
 */
export const captureSchema = z.enum(['none', 'metadata', 'full'])
export type Capture = z.infer<typeof captureSchema>

export const updateProjectSchema = z
  .strictObject({ name: projectName.optional(), quotaBytes: quotaBytes.optional(), capture: captureSchema.optional() })
  .refine((body) => Object.keys(body).length > 0, 'expected name, quotaBytes or capture')
export type UpdateProject = z.input<typeof updateProjectSchema>

export const projectSchema = z.object({
  id: projectIdSchema,
  name: z.string(),
  createdAt: z.iso.datetime(),
  capture: captureSchema,
  quotaBytes,
  /** What its checkpoints hold. */
  storedBytes: z.int(),
})
export type ProjectView = z.infer<typeof projectSchema>

export const storageQuerySchema = z.object({ sessions: z.coerce.number().int().min(0).max(100).default(10) })

/** What a project stores: the plain sizes of its checkpoints' own layers. */
export const storageSchema = z.object({
  project: projectIdSchema,
  storedBytes: z.int(),
  quotaBytes,
  /** Those that hold most, the largest first. */
  sessions: z.array(z.object({ id: idSchema, storedBytes: z.int(), checkpoints: z.int() })),
})
export type StorageView = z.infer<typeof storageSchema>
