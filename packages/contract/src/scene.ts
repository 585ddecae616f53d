import { z } from 'zod'

/** A process of a sandbox as the host saw it. Name, command and folder are what the process says of itself. */
export const sceneProcessSchema = z.object({
  /** The host's id. */
  pid: z.int(),
  parentPid: z.int(),
  /** At most 500 characters. */
  command: z.string(),
  /** Null where it could not be read any more. */
  cwd: z.string().nullable(),
  /** As proc(5) has it: R runs, S and D wait, T is stopped. */
  state: z.string(),
  ageMs: z.number(),
  rssBytes: z.number(),
  peakRssBytes: z.number(),
  /** In the last minute. */
  grewBytes: z.number(),
  cpuMs: z.number(),
  threads: z.int(),
})
export type SceneProcess = z.infer<typeof sceneProcessSchema>

const pressureSchema = z.object({ some: z.number(), full: z.number() })

/** How it was known that a sandbox went without CPU time. */
export const cpuStarvationSchema = z.object({
  /** Who had the time that it waited for: `limit`, nobody, it had used up its own; `others`, what else runs on its host. */
  by: z.enum(['limit', 'others']),
  overMs: z.number(),
  /** CPUs that it used on average, and that it may use. */
  usedCpus: z.number(),
  allowedCpus: z.number(),
  /** Its tasks that were ready to run and had no CPU, on average. */
  waitingTasks: z.number(),
  hostCpus: z.number(),
  /** Tasks of the whole host that ran or were ready to run, over the last minute. */
  hostLoad: z.number(),
})
export type CpuStarvation = z.infer<typeof cpuStarvationSchema>

/** A sandbox at the moment when something went wrong in it. Counters are the kernel's own. */
export const sceneSchema = z.object({
  memory: z.object({
    usedBytes: z.number(),
    limitBytes: z.number(),
    peakBytes: z.number(),
    anonBytes: z.number(),
    fileBytes: z.number(),
    shmemBytes: z.number(),
    kernelBytes: z.number(),
  }),
  /** Memory in use over the last minutes, the oldest first; at most 60 points. */
  memoryCurve: z.array(z.object({ beforeMs: z.number(), bytes: z.number() })),
  /** The largest, at most ten; of a sandbox that is gone as it was seen last. */
  processes: z.array(sceneProcessSchema),
  processCount: z.int(),
  processLimit: z.number(),
  cpu: z.object({
    /** Of one CPU, over the last seconds. */
    share: z.number(),
    /** How long its processes were kept waiting since the sandbox was made because its CPU time was used up. */
    throttledMs: z.number(),
  }),
  disk: z.object({ usedBytes: z.number(), totalBytes: z.number() }),
  network: z.object({ receivedBytes: z.number(), sentBytes: z.number() }),
  /** Percent of the last ten seconds in which some, or all, processes waited. `host`: where the kernel has it of no sandbox. */
  pressure: z.object({
    of: z.enum(['sandbox', 'host']),
    memory: pressureSchema,
    cpu: pressureSchema,
    io: pressureSchema,
  }),
})
export type Scene = z.infer<typeof sceneSchema>

/** What of the processes of a sandbox is to blame, as far as the host can tell. */
export const blamedSchema = z.object({
  process: sceneProcessSchema,
  /** It and what it had started, or belongs to. */
  processes: z.int(),
  rssBytes: z.number(),
  /** The tool call that had started it; absent where none had, or it isn't known which. */
  toolId: z.string().optional(),
  isAgent: z.boolean(),
  openFiles: z.object({ count: z.int(), paths: z.array(z.string()) }),
  /** What it had last written to a file as its output. */
  lastOutput: z.array(z.string()),
})
export type Blamed = z.infer<typeof blamedSchema>

/** Files of /workspace that no checkpoint has; `more`: that are not named. */
export const uncommittedSchema = z.object({ paths: z.array(z.string()), more: z.int() })
export type Uncommitted = z.infer<typeof uncommittedSchema>

/** A process that a tool call started. What is not known of it is absent. */
export const toolProcessSchema = z.object({
  pid: z.int(),
  /** The host's id of its parent; of one that is not in the list where that is the agent. */
  parentPid: z.int(),
  /** At most 200 characters; its name in brackets where it came and went before its arguments could be read. */
  command: z.string(),
  /** As it names it itself, at most 300 characters. */
  cwd: z.string().optional(),
  startedAt: z.iso.datetime(),
  /** Null: it went on when the call ended. */
  endedAt: z.iso.datetime().nullable(),
  cpuMs: z.number(),
  peakRssBytes: z.number(),
  /** Read from disk and written to it: what a cache of the kernel gave is not read. */
  readBytes: z.number().optional(),
  writtenBytes: z.number().optional(),
  /** Absent where a signal ended it. */
  exitCode: z.int().optional(),
  /** That ended it, such as SIGKILL. */
  signal: z.string().optional(),
  /** Where the figures of one that has ended are from: the kernel's account at its end, or the last look at it before. */
  measured: z.enum(['kernel', 'sampled']).optional(),
})
export type ToolProcess = z.infer<typeof toolProcessSchema>
