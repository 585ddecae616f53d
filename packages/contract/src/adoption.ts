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
