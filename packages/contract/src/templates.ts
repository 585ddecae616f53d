import { z } from 'zod'
import { envSchema, resourcesSchema } from './runs.js'

/** The template that every installation has: no project's own. */
export const standardTemplate = 'standard'

export const templateNameSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'expected a name of lower-case letters, digits, ".", "_" and "-"')
  .refine((name) => name !== standardTemplate, `"${standardTemplate}" is built in; expected another name`)

export const templateDigestSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'expected a digest: sha256:…')

/** What a template gives the sessions that begin with it. */
const givenSchema = {
  /** For the agent and for commands; what a run or a command sets itself counts more. */
  env: envSchema.optional(),
  /** Of sessions that ask for none themselves. */
  resources: resourcesSchema.optional(),
}

/** What a version of a template is made of. */
export const buildTemplateSchema = z
  .strictObject({
    ...givenSchema,
    /** The template below: a name, `name@version` or a digest. By default `standard`. */
    from: z.string().min(1).max(200).optional(),
    /** Debian packages, one `NAME` or `NAME=VERSION` each; installed first. */
    packages: z
      .array(
        z
          .string()
          .max(200)
          .regex(
            /^[a-z0-9][a-z0-9+.-]*(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~-]+)?$/,
            'expected a Debian package: NAME or NAME=VERSION',
          ),
      )
      .max(500)
      .optional(),
    /** Each is run by `sh -c` as root in `/`; the first that ends with another status than 0 ends the build. */
    commands: z.array(z.string().trim().min(1).max(100_000)).max(200).optional(),
    /** In place of `from`, `packages` and `commands`. */
    dockerfile: z
      .string()
      .max(1024 ** 2)
      .optional(),
    /** Of a Dockerfile's ARG. */
    buildArgs: envSchema.optional(),
    /** Digest of a tar that was sent before by PUT /v1/uploads/{digest}: the folder that a Dockerfile copies from. */
    context: templateDigestSchema.optional(),
    /** Whether the name means this version from now on. The first version of a name always is. */
    promote: z.boolean().default(false),
  })
  .refine(
    ({ dockerfile, from, packages, commands }) =>
      dockerfile === undefined || (from === undefined && !packages?.length && !commands?.length),
    'a Dockerfile says what it is made from and of; expected no from, packages or commands beside it',
  )
export type BuildTemplate = z.input<typeof buildTemplateSchema>
export type BuildTemplateParsed = z.infer<typeof buildTemplateSchema>

export const sessionTemplateSchema = z.strictObject({
  ...givenSchema,
  name: templateNameSchema,
  promote: z.boolean().default(false),
})
export type SessionTemplate = z.input<typeof sessionTemplateSchema>

export const templateOriginSchema = z.object({
  kind: z.enum(['recipe', 'dockerfile', 'session', 'image']),
  /** Digest of the template below; null for an image from elsewhere. */
  base: templateDigestSchema.nullable(),
  session: z.string().optional(),
  packages: z.array(z.string()).optional(),
  commands: z.array(z.string()).optional(),
})
export type TemplateOrigin = z.infer<typeof templateOriginSchema>

export const templateVersionSchema = z.object({
  name: z.string(),
  version: z.int(),
  digest: templateDigestSchema,
  /** Of the image, before compression. */
  sizeBytes: z.int(),
  /** Whether the name alone means this version. */
  promoted: z.boolean(),
  env: z.record(z.string(), z.string()),
  resources: resourcesSchema,
  origin: templateOriginSchema,
  /** Open sessions that stand on it. */
  sessions: z.int(),
  createdAt: z.iso.datetime(),
})
export type TemplateVersionView = z.infer<typeof templateVersionSchema>

export const templateSchema = z.object({
  name: z.string(),
  /** The version that the name alone means. */
  promoted: z.int().nullable(),
  /** The newest first. */
  versions: z.array(templateVersionSchema),
})
export type TemplateView = z.infer<typeof templateSchema>

/** `standard`: the digest of the built-in template. */
export const templateListSchema = z.object({ standard: templateDigestSchema, items: z.array(templateSchema) })
export type TemplateList = z.infer<typeof templateListSchema>

export const imageTemplateQuerySchema = z.strictObject({
  promote: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true'),
})

export const promoteTemplateSchema = z.strictObject({ version: z.int().min(1) })

/** One line of the NDJSON answer of a build. */
export const templateOutputSchema = z.discriminatedUnion('type', [
  /** A step begins; `line` is that of the Dockerfile. */
  z.object({ type: z.literal('step'), index: z.int(), count: z.int(), text: z.string(), line: z.int().optional() }),
  z.object({ type: z.literal('output'), stream: z.enum(['stdout', 'stderr']), text: z.string() }),
  z.object({ type: z.literal('progress'), message: z.string() }),
  z.object({ type: z.literal('built'), template: templateVersionSchema }),
  z.object({ type: z.literal('error'), code: z.string(), message: z.string(), hint: z.string() }),
])
export type TemplateOutput = z.infer<typeof templateOutputSchema>

export const upgradeSessionSchema = z.strictObject({
  /** Where the session is to go: a name, `name@version` or a digest. */
  template: z.string().min(1).max(200),
  /** Only says what it would do. */
  dryRun: z.boolean().default(false),
})
export type UpgradeSession = z.input<typeof upgradeSessionSchema>

export const shadowedSchema = z.object({
  items: z.array(
    z.object({
      path: z.string(),
      /** What became of it from the old template to the new one. */
      template: z.enum(['added', 'changed', 'removed']),
      /** What the session has there instead, of its own. */
      session: z.enum(['changed', 'removed']),
    }),
  ),
  /** Whether there are others. */
  more: z.boolean(),
})
export type Shadowed = z.infer<typeof shadowedSchema>

export const upgradeReportSchema = z.object({
  sessionId: z.string(),
  /** Digests of the templates. */
  from: templateDigestSchema,
  to: templateDigestSchema,
  /** Whether the session was moved, by this request. */
  moved: z.boolean(),
  /** The checkpoint that a rollback goes back to; null where the session has nothing of its own. */
  before: z.string().nullable(),
  /** Where it stands. */
  head: z.string().nullable(),
  /** Files that are otherwise in the new template, and that the session goes on seeing as it has them itself. */
  shadowed: shadowedSchema,
  /** Lists of installed packages that both have of their own: the session gets what is in either. */
  merged: z.array(z.string()),
})
export type UpgradeReport = z.infer<typeof upgradeReportSchema>

/** What a version says of itself in the store, so that its row can be made anew; also in the image, as `/usr/share/vm0/template.json`. */
export const templateFactsSchema = z.object({
  env: z.record(z.string(), z.string()),
  resources: resourcesSchema,
  origin: templateOriginSchema,
})
export type TemplateFacts = z.infer<typeof templateFactsSchema>

export const templateDocumentSchema = templateFactsSchema.extend({
  v: z.literal(1),
  projectId: z.string(),
  name: z.string(),
  version: z.int(),
  digest: templateDigestSchema,
  sizeBytes: z.int(),
  createdAt: z.string(),
})
export type TemplateDocument = z.infer<typeof templateDocumentSchema>

export interface StoredTemplate {
  digest: string
  sizeBytes: number
}

/** An OCI image that has come in as a file, but is not in the store yet. */
export interface IncomingImage {
  /** The variables that it sets. */
  readonly env: Record<string, string>
  /** Makes the template's image of its layers. Durable on return. */
  store(projectId: string, facts: TemplateFacts, signal?: AbortSignal): Promise<StoredTemplate>
  close(): Promise<void>
}

/** Lists of packages that a session and its next template have both changed, merged. */
export interface MergedPackages {
  paths: string[]
  /** Has them; null where there are none, or where nothing was to be stored. */
  layer: StoredTemplate | null
}

/** What a server asks of whoever holds the images of templates. */
export interface TemplatePort {
  /** Digest of the built-in template. */
  readonly standard: string
  /** Makes one image of a template and the layers of a checkpoint over it (none: the template alone), without what agents keep of their conversations. Durable on return. */
  make(
    request: { projectId: string; template: string; checkpoint: string | null; facts: TemplateFacts },
    signal: AbortSignal,
  ): Promise<StoredTemplate>
  /** Takes an OCI image layout in a tar in and checks it; throws ARCHIVE_INVALID, ARCHIVE_CORRUPT, ARCHIVE_TOO_LARGE or VERSION_UNSUPPORTED. */
  receiveImage(content: AsyncIterable<Uint8Array>): Promise<IncomingImage>
  /** What a checkpoint's layers hide of the changes from its template to another one. */
  shadowed(request: { projectId: string; checkpoint: string; template: string }, signal: AbortSignal): Promise<Shadowed>
  /** The lists of packages that would hide those of another template, merged; with `store` durable on return. */
  merged(
    request: { projectId: string; checkpoint: string; template: string; store: boolean },
    signal: AbortSignal,
  ): Promise<MergedPackages>
  /** Stores a checkpoint with the same layers (and one more over them) and conversation over another template, as one of this session; returns its id. */
  upgrade(request: {
    projectId: string
    sessionId: string
    checkpoint: string
    template: string
    layer: StoredTemplate | null
    epoch: number
  }): Promise<string>
  /** Has the store tell of a version, so that the database can be made anew from it. */
  describe(document: TemplateDocument): Promise<void>
}
