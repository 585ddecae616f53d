import { z } from 'zod'
import { activeStates, outcomes } from './run-states.js'

/** Ids are UUIDs made by the client (version 7 recommended), unique per project; in whichever case they come, one id is one string. */
export const idSchema = z.uuid().toLowerCase()

/** `sha256:…` of a checkpoint's manifest. */
export const checkpointIdSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'expected a checkpoint id: sha256:…')

export const outcomeSchema = z.enum(outcomes)
export const runStateSchema = z.enum([...activeStates, ...outcomes])

export const resourcesSchema = z.strictObject({
  memoryMiB: z.int().min(256).max(1_048_576).optional(),
  cpus: z.number().min(0.1).max(256).optional(),
  diskMiB: z.int().min(64).max(1_048_576).optional(),
  processes: z.int().min(32).max(32_768).optional(),
})
export type Resources = z.infer<typeof resourcesSchema>

export const defaultResources: Required<Resources> = { memoryMiB: 2048, cpus: 2, diskMiB: 10_240, processes: 512 }

export const limitsSchema = z.strictObject({
  timeoutMs: z.int().min(1).max(86_400_000).optional(),
  turns: z.int().min(1).max(10_000).optional(),
  /** The run ends as `died` (`agent_hung`) when its agent has told nothing for so long, waits for a person apart. */
  idleTimeoutMs: z.int().min(1).max(86_400_000).optional(),
})

/** 1 MiB: Claude Code's own context is smaller; larger inputs belong into the workspace. */
export const maxPromptBytes = 1024 * 1024

const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected a name of letters, digits and _')
// oxlint-disable-next-line no-control-regex -- NUL can't be carried in an environment or a prompt
const noNul = (name: string) =>
  z
    .string()
    .refine((text) => !text.includes('\0'), `${name} contains a NUL byte; expected text`)
    .refine((text) => !/\p{Surrogate}/u.test(text), `${name} contains half a surrogate pair; expected text`)

export const envSchema = z.record(envName, noNul('env value').max(131_072))

/** W3C Trace Context: version, trace, parent span, flags; later versions may have more at the end. */
export const traceparentSchema = z
  .string()
  .max(200)
  .regex(
    /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/,
    'expected a traceparent: 00-<32 hexadecimal digits>-<16>-<2>',
  )

const maxSchemaBytes = 64 * 1024
const outputSchema = z
  .looseObject({ type: z.literal('object', 'expected the JSON Schema of an object: {"type":"object", …}') })
  .refine((schema) => JSON.stringify(schema).length <= maxSchemaBytes, `expected at most ${maxSchemaBytes} bytes`)

/** A program in the sandbox that speaks MCP on its stdin and stdout, or a server that the sandbox reaches by HTTP. */
const mcpServerSchema = z.union([
  z.strictObject({
    type: z.literal('stdio').optional(),
    command: z.string().min(1).max(4096),
    args: z.array(z.string().max(4096)).max(100).optional(),
    env: z.record(envName, noNul('env value').max(131_072)).optional(),
  }),
  z.strictObject({
    type: z.enum(['http', 'sse']),
    url: z.url({ protocol: /^https?$/ }).max(4096),
    headers: z.record(z.string().max(256), z.string().max(8192)).optional(),
  }),
])

export const runSpecSchema = z.strictObject({
  framework: z.string().min(1).max(64).default('claude-code'),
  prompt: noNul('prompt').refine((text) => text.trim().length > 0, 'prompt is empty; expected the task for the agent'),
  model: z.string().min(1).max(200).optional(),
  template: z.string().min(1).max(200).optional(),
  env: envSchema.optional(),
  systemPrompt: z.union([noNul('systemPrompt'), z.strictObject({ append: noNul('systemPrompt.append') })]).optional(),
  /** `allow`: only these (all, without it); `deny`: none of these. Names are the agent's own; it may know patterns: `Bash(git *)`. */
  tools: z
    .strictObject({
      allow: z.array(z.string().max(200)).max(200).optional(),
      deny: z.array(z.string().max(200)).max(200).optional(),
    })
    .optional(),
  /**
   * Who decides what the agent may do: the sandbox (`auto`, the default), or a person (`ask`): the agent then waits for
   * POST /v1/runs/{id}/answers before each action that changes something, without a time-out.
   */
  permissions: z.enum(['auto', 'ask']).optional(),
  /** JSON Schema of an object that the agent gives as its result. */
  output: outputSchema.optional(),
  /** MCP servers by name, beside those that the workspace names. */
  mcpServers: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), mcpServerSchema).optional(),
  resources: resourcesSchema.optional(),
  limits: limitsSchema.optional(),
  /**
   * When the session is saved within the run: after every batch of tool calls that changed files (`every`, the default), at
   * most once in so many milliseconds, or never. At the run's end it is saved in any case.
   */
  checkpoints: z
    .union([z.enum(['every', 'off']), z.strictObject({ minIntervalMs: z.int().min(0).max(86_400_000) })])
    .optional(),
  /**
   * What becomes of the run when its agent, sandbox or host is lost in the middle of it: `resume` (the default) takes it up
   * again from what is left, or was saved last, and tells the agent; `fail` ends it as `died`.
   */
  onLoss: z.enum(['resume', 'fail']).optional(),
  /**
   * What becomes of a run whose sandbox has used up its memory: what has used it up is ended and the agent told so
   * (`tell-agent`, the default); the sandbox goes on with twice the memory, where the host has it, up to eight times what it
   * began with (`double`); or the run ends as `died` (`stop`).
   */
  onOutOfMemory: z.enum(['tell-agent', 'double', 'stop']).optional(),
  labels: z.record(z.string().min(1).max(64), z.string().max(256)).optional(),
  /** The caller's span, whose trace the run's goes on with; the header of this name says the same. */
  traceparent: traceparentSchema.optional(),
})
export type RunSpec = z.infer<typeof runSpecSchema>

export const createRunSchema = runSpecSchema.extend({
  id: idSchema.optional(),
  sessionId: idSchema.optional(),
  /** The new session begins at this checkpoint, with its conversation; for a run that makes its session. */
  from: checkpointIdSchema.optional(),
  /** `sessionId` names a session that this request makes; otherwise it must exist. */
  newSession: z.boolean().default(false),
  /** What to do when the session already has a run: wait in order (default), or answer SESSION_BUSY. */
  ifBusy: z.enum(['queue', 'refuse']).default('queue'),
  /** Digest of a tar that was sent before by PUT /v1/uploads/{digest}; unpacked into /workspace before the prompt. */
  workspaceUpload: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/)
    .optional(),
})
export type CreateRun = z.input<typeof createRunSchema>
export type CreateRunParsed = z.infer<typeof createRunSchema>

export const createSessionSchema = z.strictObject({
  id: idSchema.optional(),
  /** It begins at this checkpoint, with its conversation, template, resources and labels where none are given. */
  from: checkpointIdSchema.optional(),
  template: z.string().min(1).max(200).optional(),
  resources: resourcesSchema.optional(),
  labels: z.record(z.string().min(1).max(64), z.string().max(256)).optional(),
  workspaceUpload: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/)
    .optional(),
})
export type CreateSession = z.input<typeof createSessionSchema>

export const usageSchema = z.object({
  inputTokens: z.int(),
  outputTokens: z.int(),
  cacheReadTokens: z.int(),
  cacheWriteTokens: z.int(),
})
export type Usage = z.infer<typeof usageSchema>

export function addUsage(a: Usage, b: Usage): Usage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
    cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens,
  }
}

/** When a run reached each point of its way, in milliseconds since the API call arrived; null where it did not. */
export const timingsSchema = z.object({
  /** The caller's key was looked at. */
  authorisedMs: z.number().nullable(),
  /** A runner has taken it: it is placed. */
  queuedMs: z.number().nullable(),
  /** Its sandbox is there, with the session's files and the workspace. */
  boundMs: z.number().nullable(),
  /** An agent process is there, bound to what the run asks for. */
  sandboxReadyMs: z.number().nullable(),
  /** The prompt is written to the agent. */
  promptSentMs: z.number().nullable(),
  /** The agent's first word: it has read the prompt. */
  agentReadyMs: z.number().nullable(),
  firstModelRequestMs: z.number().nullable(),
  firstTokenMs: z.number().nullable(),
  agentFinishedMs: z.number().nullable(),
  totalMs: z.number().nullable(),
  /** Whether a sandbox that waited warm could be had; null where none was asked for: the session had its own, or files to restore. */
  pool: z.enum(['hit', 'miss']).nullable(),
})
export type Timings = z.infer<typeof timingsSchema>

export const runErrorSchema = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string(),
  details: z.record(z.string(), z.unknown()).optional(),
})

export const runSchema = z.object({
  id: idSchema,
  sessionId: idSchema,
  state: runStateSchema,
  reason: z.string().nullable(),
  framework: z.string(),
  agentVersion: z.string().nullable(),
  model: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  text: z.string().nullable(),
  /** The result in the form that `output` asked for; null where it asked for none, or the run gave none. */
  output: z.unknown(),
  usage: usageSchema,
  costUsd: z.number(),
  timings: timingsSchema,
  checkpoint: z.string().nullable(),
  /** 1, and one more for each time that it was taken up again after a loss. */
  attempts: z.int(),
  error: runErrorSchema.nullable(),
  createdAt: z.iso.datetime(),
  startedAt: z.iso.datetime().nullable(),
  endedAt: z.iso.datetime().nullable(),
})
export type RunView = z.infer<typeof runSchema>

/** A person's decision on what the agent asks. */
export const answerSchema = z.strictObject({
  /** Of the event `permission.requested`. */
  requestId: z.string().min(1).max(200),
  decision: z.enum(['allow', 'deny']),
  /** With `deny`: told to the agent. */
  message: z.string().max(10_000).optional(),
  /** With `allow`: in place of the arguments that the agent asked for. */
  input: z.record(z.string(), z.unknown()).optional(),
})
export type Answer = z.infer<typeof answerSchema>

/** What ran in a sandbox beside its agent when that was given up. */
export const lostProcessesSchema = z.object({
  at: z.iso.datetime(),
  /** The first 50 of `count`; `pid` as it was inside the sandbox, `command` cut to 300 characters. */
  processes: z.array(z.object({ pid: z.int(), command: z.string() })),
  count: z.int(),
})
export type LostProcesses = z.infer<typeof lostProcessesSchema>

export const sessionSchema = z.object({
  id: idSchema,
  template: z.string(),
  framework: z.string().nullable(),
  state: z.enum(['idle', 'active', 'deleted']),
  head: z.string().nullable(),
  /** The checkpoint that it was forked from. */
  origin: z.string().nullable(),
  resources: resourcesSchema,
  labels: z.record(z.string(), z.string()),
  /** Of its last sandbox that was given up; null where nothing ran but its agent. */
  lostProcesses: lostProcessesSchema.nullable(),
  runs: z.int(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
})
export type SessionView = z.infer<typeof sessionSchema>

export const pageQuerySchema = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  before: idSchema.optional(),
  sessionId: idSchema.optional(),
})
/** `name=value` of one label. */
export const labelFilterSchema = z
  .string()
  .max(330)
  .regex(/^[^=]{1,64}=/, 'expected name=value')

export const runPageSchema = pageQuerySchema.extend({
  state: runStateSchema.optional(),
  reason: z.string().max(100).optional(),
  /** Asked for at this time or later. */
  since: z.iso.datetime().optional(),
  label: labelFilterSchema.optional(),
})
export type RunPage = z.infer<typeof runPageSchema>

export const pageOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().nullable() })

export const execRequestSchema = z.strictObject({
  command: z.array(z.string().min(1)).min(1).max(1000),
  cwd: z.string().startsWith('/').optional(),
  env: z.record(envName, z.string()).optional(),
  stdin: z.string().max(10_000_000).optional(),
  timeoutMs: z.int().min(1).max(3_600_000).default(600_000),
})
export type ExecRequest = z.input<typeof execRequestSchema>
export type ExecRequestParsed = z.infer<typeof execRequestSchema>
/** One line of the NDJSON answer of POST /v1/sessions/{id}/exec. */
export const execOutputSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('stdout'), text: z.string() }),
  z.object({ type: z.literal('stderr'), text: z.string() }),
  z.object({ type: z.literal('exit'), exitCode: z.int() }),
  z.object({ type: z.literal('error'), code: z.string(), message: z.string(), hint: z.string() }),
])
export type ExecOutput = z.infer<typeof execOutputSchema>

export const fileEntrySchema = z.object({
  name: z.string(),
  path: z.string(),
  type: z.enum(['file', 'directory', 'symlink', 'other']),
  sizeBytes: z.int(),
  mode: z.int(),
  modifiedAt: z.iso.datetime(),
})
export type FileEntry = z.infer<typeof fileEntrySchema>

export const frameworkSchema = z.object({
  name: z.string(),
  versions: z.array(z.string()),
  default: z.string().nullable(),
})
export type FrameworkView = z.infer<typeof frameworkSchema>

export const installFrameworkSchema = z.strictObject({
  name: z.string().min(1).max(64),
  version: z.string().regex(/^\d+\.\d+\.\d+$/, 'expected an exact version such as 2.1.330'),
})
/** One line of the NDJSON answer of POST /v1/frameworks. */
export const installOutputSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('progress'), message: z.string() }),
  z.object({ type: z.literal('installed'), framework: frameworkSchema }),
  z.object({ type: z.literal('error'), code: z.string(), message: z.string(), hint: z.string() }),
])
export type InstallOutput = z.infer<typeof installOutputSchema>
