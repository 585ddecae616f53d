import { z } from 'zod'
import { lostProcessesSchema, outcomeSchema, runErrorSchema, timingsSchema, usageSchema } from './runs.js'
import {
  blamedSchema,
  cpuStarvationSchema,
  sceneProcessSchema,
  sceneSchema,
  toolProcessSchema,
  uncommittedSchema,
} from './scene.js'

const nested = { parentToolId: z.string().optional() }

/** What happened, without the envelope. The names follow the agents' common ground; `raw` carries what no driver knows. */
export const eventBodySchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('run.queued') }),
  z.object({
    type: z.literal('sandbox.ready'),
    sandboxId: z.string(),
    /** Made anew, taken from those that wait warm, or the session's own. */
    how: z.enum(['cold', 'warm', 'session']),
    /** Since the API call arrived. */
    durationMs: z.number(),
    template: z.string(),
    agentVersion: z.string(),
  }),
  z.object({
    type: z.literal('run.started'),
    agentSessionId: z.string(),
    model: z.string(),
    cwd: z.string(),
    tools: z.array(z.string()),
    agentVersion: z.string(),
    permissionMode: z.string().optional(),
    mcpServers: z.array(z.object({ name: z.string(), status: z.string() })).optional(),
  }),
  z.object({ type: z.literal('message.delta'), messageId: z.string(), text: z.string(), ...nested }),
  z.object({ type: z.literal('message'), messageId: z.string(), text: z.string(), ...nested }),
  /** The deltas of this message that no `message` or `thinking` event repeats are void: its stream broke off. */
  z.object({ type: z.literal('message.abandoned'), messageId: z.string(), ...nested }),
  z.object({ type: z.literal('thinking.delta'), messageId: z.string(), text: z.string(), ...nested }),
  z.object({ type: z.literal('thinking'), messageId: z.string(), text: z.string(), redacted: z.boolean(), ...nested }),
  z.object({
    type: z.literal('tool.started'),
    toolId: z.string(),
    name: z.string(),
    kind: z.enum(['shell', 'read', 'edit', 'search', 'fetch', 'mcp', 'subagent', 'plan', 'other']),
    input: z.unknown(),
    title: z.string(),
    ...nested,
  }),
  z.object({
    type: z.literal('tool.output'),
    toolId: z.string(),
    stream: z.enum(['stdout', 'stderr', 'mixed']),
    chunk: z.string(),
    ...nested,
  }),
  z.object({
    type: z.literal('tool.finished'),
    toolId: z.string(),
    name: z.string(),
    ok: z.boolean(),
    exitCode: z.int().optional(),
    error: z.string().optional(),
    output: z.string(),
    outputTruncated: z.boolean(),
    durationMs: z.number(),
    ...nested,
  }),
  /** The whole list, each time it changes. */
  z.object({ type: z.literal('plan'), items: z.array(z.object({ text: z.string(), status: z.string() })), ...nested }),
  z.object({
    type: z.literal('subagent.started'),
    subagentId: z.string(),
    toolId: z.string().optional(),
    kind: z.string(),
    prompt: z.string(),
    title: z.string().optional(),
    background: z.boolean().optional(),
    ...nested,
  }),
  z.object({
    type: z.literal('subagent.finished'),
    subagentId: z.string(),
    toolId: z.string().optional(),
    status: z.string(),
    result: z.string().optional(),
    usage: z.object({ totalTokens: z.int(), toolCalls: z.int(), durationMs: z.number() }).optional(),
    ...nested,
  }),
  /**
   * What was used since the last event of this scope: for `step` at the end of a model request, which `messageId` names where
   * it is known; for `turn` of each model in the whole turn, its sub-agents included. The steps of a turn add up to it.
   */
  z.object({
    type: z.literal('usage'),
    scope: z.enum(['step', 'turn']),
    model: z.string(),
    messageId: z.string().optional(),
    usage: usageSchema,
    costUsd: z.number().optional(),
    ...nested,
  }),
  z.object({
    type: z.literal('permission.requested'),
    requestId: z.string(),
    toolId: z.string().optional(),
    name: z.string(),
    input: z.unknown(),
  }),
  z.object({
    type: z.literal('permission.resolved'),
    /** Absent where the agent decided without asking. */
    requestId: z.string().optional(),
    toolId: z.string().optional(),
    name: z.string(),
    decision: z.enum(['allow', 'deny']),
    by: z.enum(['platform', 'agent', 'person']),
    message: z.string().optional(),
  }),
  z.object({
    type: z.literal('compaction'),
    phase: z.enum(['started', 'finished', 'failed']),
    trigger: z.string().optional(),
    preTokens: z.number().optional(),
    postTokens: z.number().optional(),
    error: z.string().optional(),
  }),
  z.object({
    type: z.literal('rate_limit'),
    status: z.string(),
    resetsAt: z.string().optional(),
    limit: z.string().optional(),
    /** Share of the limit that is used, 0 to 1. */
    used: z.number().optional(),
  }),
  z.object({
    type: z.literal('status'),
    state: z.enum(['requesting', 'retrying', 'idle']),
    attempt: z.int().optional(),
    maxAttempts: z.int().optional(),
    retryInMs: z.number().optional(),
    httpStatus: z.int().optional(),
    error: z.string().optional(),
  }),
  /** A hook that the session's own settings made the agent run. */
  z.object({
    type: z.literal('hook'),
    phase: z.enum(['started', 'finished']),
    hookId: z.string(),
    name: z.string(),
    event: z.string(),
    outcome: z.string().optional(),
    exitCode: z.int().optional(),
    output: z.string().optional(),
  }),
  /** What the agent says beside the conversation. */
  z.object({ type: z.literal('notice'), level: z.enum(['info', 'warning', 'error']), text: z.string(), ...nested }),
  z.object({
    type: z.literal('input.sent'),
    text: z.string(),
    /** Absent: a person has said it. */
    by: z.literal('platform').optional(),
  }),
  /** The run waits for a person's answer (`waiting`), or goes on (`running`). */
  z.object({ type: z.literal('run.state'), state: z.enum(['waiting', 'running']) }),
  z.object({ type: z.literal('model.request'), method: z.string(), path: z.string(), first: z.boolean() }),
  z.object({ type: z.literal('model.response'), path: z.string(), httpStatus: z.int(), durationMs: z.number() }),
  z.object({
    type: z.literal('error'),
    code: z.string(),
    message: z.string(),
    retryable: z.boolean(),
    httpStatus: z.int().optional(),
  }),
  z.object({ type: z.literal('stderr'), text: z.string() }),
  z.object({
    type: z.literal('agent.finished'),
    reason: z.enum(['completed', 'interrupted', 'error', 'max_turns']),
    text: z.string(),
    usage: usageSchema,
    costUsd: z.number(),
    durationMs: z.number(),
  }),
  z.object({
    type: z.literal('checkpoint.committed'),
    checkpoint: z.string(),
    cause: z.string(),
    /** The tool calls since the checkpoint before, of one that was made within the run. */
    toolIds: z.array(z.string()).optional(),
    changedFiles: z.int(),
    sizeBytes: z.int(),
    durationMs: z.number(),
  }),
  z.object({
    type: z.literal('run.finished'),
    outcome: outcomeSchema,
    reason: z.string().nullable(),
    timings: timingsSchema,
    error: runErrorSchema.nullable(),
  }),
  /** The session has another sandbox than before, and these ran in that one: processes don't survive it. */
  z.object({ type: z.literal('processes.lost'), ...lostProcessesSchema.shape }),
  /** Nine tenths of the sandbox's disk are used: what is written beyond it fails. Told again only after there was room. */
  z.object({ type: z.literal('sandbox.disk_pressure'), usedBytes: z.number(), totalBytes: z.number() }),
  /** Nine tenths of what the project may store are used: this run is saved in any case, then new ones are refused. */
  z.object({ type: z.literal('project.quota_pressure'), storedBytes: z.number(), quotaBytes: z.number() }),
  /**
   * The sandbox can't have the memory that its processes ask for. `held`: they waited while this was recorded and decided;
   * `killed`: the kernel's own count of what it killed has risen.
   */
  z.object({
    type: z.literal('sandbox.out_of_memory'),
    detected: z.enum(['held', 'killed']),
    /** What became of it. `doubled`: the sandbox has twice the memory from here on, `limitBytes` in all. */
    action: z.enum(['stopped_process', 'doubled', 'stopped_run', 'killed_by_kernel']),
    limitBytes: z.number(),
    blamed: blamedSchema.nullable(),
    /** What the kernel has ended, as seen last. */
    victims: z.array(sceneProcessSchema),
    scene: sceneSchema,
    uncommitted: uncommittedSchema,
    /** What the agent was told. */
    note: z.string().optional(),
  }),
  /** The sandbox as it was when something else went wrong in it. */
  z.object({
    type: z.literal('sandbox.report'),
    /**
     * `process_limit`: a new process was refused; `disk_full`: its disk is used up; `cpu_starved`: it has waited for CPU time
     * for most of half a minute, or of a shorter run; `agent_ended`: its agent is gone; `agent_silent`: nothing has come from its agent for long.
     */
    trigger: z.enum(['process_limit', 'disk_full', 'cpu_starved', 'agent_ended', 'agent_silent']),
    scene: sceneSchema,
    /** The tool calls that were at work. */
    toolIds: z.array(z.string()),
    /** Of `disk_full`: what has written most of what runs; of `process_limit`: what there is most of. */
    process: sceneProcessSchema.optional(),
    /** Of `process_limit`: how many of the processes have the same command. */
    alike: z.int().optional(),
    /** Of `cpu_starved`: the part of half a minute, or of the whole time of a shorter run. */
    share: z.number().optional(),
    /** Of `cpu_starved`. Without it, as in events of earlier versions, it was its own limit that kept it waiting. */
    cpu: cpuStarvationSchema.optional(),
    /** Of `agent_ended`, as a shell has it. */
    exitCode: z.int().optional(),
    /** Of `agent_ended`: what the kernel wrote of a fault of the agent, where it did. */
    crash: z.string().optional(),
    /** Of `agent_silent`. */
    silentMs: z.number().optional(),
    /** Of `agent_silent`: the agent and what it had started, with what each waits for, by the kernel's name of the place. */
    waiting: z.array(z.object({ process: sceneProcessSchema, place: z.string() })).optional(),
    /** Connections that were asked for and that nobody answers, as `address:port`. */
    unanswered: z.array(z.string()).optional(),
    uncommitted: uncommittedSchema,
  }),
  /** Processes that a tool call started: of `seen`, the 50 that used most or failed. None where it started none. */
  z.object({
    type: z.literal('tool.processes'),
    toolId: z.string(),
    processes: z.array(toolProcessSchema),
    seen: z.int(),
  }),
  /** How much memory the sandbox had in use: a point a second, more where it jumps; told once a minute and at the run's end. */
  z.object({
    type: z.literal('sandbox.memory'),
    since: z.iso.datetime(),
    limitBytes: z.number(),
    /** At most 60, the oldest first. */
    points: z.array(z.object({ afterMs: z.number(), bytes: z.number() })),
  }),
  /** Its agent, sandbox or host was lost, and the run goes on from what was left or saved last. */
  z.object({
    type: z.literal('run.resumed'),
    /** From 2. */
    attempt: z.int(),
    reason: z.enum(['agent_crashed', 'agent_killed', 'sandbox_lost', 'host_lost', 'platform_away']),
    /** What the agent was told. */
    note: z.string(),
  }),
  /** `data` is the message, or its text where it is none or is too large; what is cut is marked in it. */
  z.object({ type: z.literal('raw'), source: z.string(), data: z.unknown(), truncated: z.boolean().optional() }),
])
export type EventBody = z.infer<typeof eventBodySchema>
export type EventType = EventBody['type']

/** The envelope. `cursor` is `epoch.seq`: only the session's owner writes, and an epoch's numbers are never used again. */
export const envelopeSchema = z.object({
  v: z.literal(1),
  cursor: z.string().regex(/^\d+\.\d+$/),
  /** RFC 3339, by the clock of the runner (the monitor's stamp where the event comes from the agent's output). */
  time: z.iso.datetime(),
  runId: z.uuid(),
  sessionId: z.uuid(),
})
export type Vm0Event = z.infer<typeof envelopeSchema> & EventBody
export type EventOf<T extends EventType> = Extract<Vm0Event, { type: T }>

export const eventSchema = z.intersection(envelopeSchema, eventBodySchema)
