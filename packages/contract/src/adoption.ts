import { z } from 'zod'

/**
 * What one process of the platform leaves on disk so that the next one, maybe of another release, finds its sandboxes again.
 * A record of a version that isn't known is not read: the sandbox counts as lost.
 */
export const processIdentitySchema = z.object({ pid: z.int(), startedAt: z.string() })

/** `sandbox.json` in the folder of a sandbox's records. */
export const sandboxRecordSchema = z.object({
  v: z.literal(1),
  id: z.string(),
  slot: z.int(),
  init: processIdentitySchema,
  /** The CPUs that its commands are held to; null: all. */
  cpus: z.string().nullable(),
  environment: z.record(z.string(), z.string()),
})
export type SandboxRecord = z.infer<typeof sandboxRecordSchema>

/** `monitor.json` in the folder of a process's records. */
export const monitorRecordSchema = z.object({
  v: z.literal(1),
  monitor: processIdentitySchema,
  maxOutputBytes: z.int(),
})
export type MonitorRecord = z.infer<typeof monitorRecordSchema>

/** A line of `journal.ndjson` in the folder of a sandbox's records: what its runner did with it, in order, each before it counts. */
export const journalEntrySchema = z.discriminatedUnion('t', [
  /** The session that the sandbox belongs to from here on; `base` is the checkpoint that it was made from. */
  z.object({
    t: z.literal('session'),
    v: z.literal(1),
    projectId: z.string(),
    sessionId: z.string(),
    base: z.string().nullable(),
    /** Under which the session was owned: with another one its head was moved, and the sandbox is behind. */
    epoch: z.int(),
    atMs: z.number(),
  }),
  /** An agent process that was started or taken over with so many lines of its output already read. */
  z.object({
    t: z.literal('agent'),
    process: z.string(),
    framework: z.string(),
    version: z.string(),
    resumed: z.boolean(),
    read: z.object({ out: z.int(), err: z.int() }),
    /** Encrypted, as all that a person has written. */
    spec: z.string(),
  }),
  z.object({ t: z.literal('bound'), spec: z.string() }),
  /** A run begins in it: the calls that follow are its own. */
  z.object({
    t: z.literal('run'),
    runId: z.string(),
    how: z.enum(['cold', 'warm', 'session']),
    read: z.object({ out: z.int(), err: z.int() }),
    queuedMs: z.number().nullable(),
    sandboxReadyMs: z.number().nullable(),
    boundMs: z.number().nullable().default(null),
    pool: z.enum(['hit', 'miss']).nullable().default(null),
  }),
  /** Tasks of the sandbox that the kernel had killed for want of memory when the run began. */
  z.object({ t: z.literal('kills'), oomKills: z.int() }),
  /** Something was asked of the agent's protocol after so many lines of stdout; `ids` are those that it used up. */
  z.object({
    t: z.literal('call'),
    n: z.int(),
    method: z.enum(['prompt', 'input', 'interrupt', 'reload', 'withdraw', 'answer']),
    after: z.int(),
    args: z.string(),
    ids: z.array(z.string()),
    atMs: z.number(),
  }),
  /** The agent can read this line: `c<call>.<line>`, or `l<line of stdout>.<line>` for an answer. */
  z.object({ t: z.literal('sent'), line: z.string() }),
  /** VM0 itself ends the run's turn. */
  z.object({
    t: z.literal('stop'),
    why: z.enum(['cancel', 'timeout', 'unauthorized', 'shutdown', 'model', 'memory', 'silence']),
  }),
])
export type JournalEntry = z.infer<typeof journalEntrySchema>
