import { z } from 'zod'
import { resourcesSchema } from './runs.js'

/** What VM0 says of a session in the OCI image that it is exported as: JSON in this annotation of the image's manifest. */
export const archiveAnnotation = 'dev.vm0.session'
/** The newest that is read; what has its template is written as 1, which every VM0 reads. */
export const archiveVersion = 2

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/)

export const archivedSessionSchema = z.object({
  v: z.union([z.literal(1), z.literal(archiveVersion)]),
  /** The session's id where it comes from. */
  id: z.uuid(),
  /** The checkpoint that was exported. */
  checkpoint: digest,
  /** Digest of the template image that is the lowest layer: where it is known, it isn't imported again. */
  template: digest,
  /** False (since version 2): the lowest layer is the session's own, and the template has to be known where it is imported. */
  templateIncluded: z.boolean().default(true),
  conversation: z
    .object({
      framework: z.string().min(1).max(64),
      agentSessionId: z.string().min(1).max(200),
      agentVersion: z.string().max(64),
    })
    .nullable(),
  resources: resourcesSchema,
  labels: z.record(z.string().min(1).max(64), z.string().max(256)),
  createdAt: z.iso.datetime(),
})
export type ArchivedSessionInput = z.input<typeof archivedSessionSchema>
export type ArchivedSession = z.infer<typeof archivedSessionSchema>

const descriptor = z.object({ mediaType: z.string(), digest, size: z.int().min(0) })
export type ImageDescriptor = z.infer<typeof descriptor>

/** The files of an OCI image layout, as far as they count here. */
export const imageLayoutSchema = z.object({ imageLayoutVersion: z.string() })
export const imageIndexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z
    .array(descriptor.extend({ platform: z.object({ os: z.string(), architecture: z.string() }).optional() }))
    .min(1)
    .max(64),
})
export const imageManifestSchema = z.object({
  schemaVersion: z.literal(2),
  config: descriptor,
  layers: z.array(descriptor).max(128),
  annotations: z.record(z.string(), z.string()).default({}),
})
export const imageConfigSchema = z.object({
  architecture: z.string(),
  os: z.string(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(digest) }),
  config: z.object({ Env: z.array(z.string()).nullish() }).nullish(),
})

/** A session that has come in as a file and whose layers are made anew, but not in the store yet. */
export interface IncomingSession {
  readonly about: ArchivedSession
  /**
   * Rebuilds the layers and puts them into the store as a checkpoint of that session; over another template than its own
   * where one is given. Throws UNKNOWN_TEMPLATE where its own is neither in the file nor known here.
   */
  store(session: { projectId: string; sessionId: string; template?: string | undefined }): Promise<StoredImport>
  close(): Promise<void>
}

export interface StoredImport {
  checkpoint: string
  template: string
  sizeBytes: number
}

/** What a server asks of whoever holds the store: sessions as files. */
export interface ArchivePort {
  export(
    about: Omit<ArchivedSession, 'v' | 'template' | 'templateIncluded' | 'conversation' | 'createdAt'>,
    options: { withTemplate: boolean },
  ): AsyncIterable<Uint8Array>
  /** Takes the file in and checks it; throws ARCHIVE_INVALID, ARCHIVE_CORRUPT, ARCHIVE_TOO_LARGE or VERSION_UNSUPPORTED. */
  receive(content: AsyncIterable<Uint8Array>): Promise<IncomingSession>
}

export const exportQuerySchema = z.object({
  /** `omit`: only what the session has over its template. */
  template: z.enum(['include', 'omit']).default('include'),
})
export const importQuerySchema = z.object({
  /** Name or digest of the template that the session goes on with; without, the one that it comes with. */
  template: z.string().max(200).optional(),
})

/** One line of the NDJSON answer of POST /v1/sessions/import. */
export type ImportOutput =
  | { type: 'imported'; sessionId: string }
  | { type: 'error'; code: string; message: string; hint: string }
