import { readFileSync } from 'node:fs'
import { z } from 'zod'

const pattern = z.string().refine(isRegExp, 'expected a regular expression')

/** What the request must hold; patterns are regular expressions in which `.` matches line ends too. */
const expectationSchema = z.strictObject({
  /** On the results of the last tool calls, and on what a person said meanwhile. */
  result: pattern.optional(),
  /** On the system prompt. */
  system: pattern.optional(),
  /** On the whole conversation, as JSON. */
  messages: pattern.optional(),
  model: pattern.optional(),
  /** Names that must be among the tools on offer. */
  tools: z.array(z.string()).optional(),
})
export type Expectation = z.output<typeof expectationSchema>

const usageSchema = z.strictObject({
  input: z.int().min(0).optional(),
  output: z.int().min(0).optional(),
  cacheRead: z.int().min(0).optional(),
  cacheWrite: z.int().min(0).optional(),
})

const faultSchema = z.strictObject({
  /**
   * `status`: an error as JSON; `error`: an `error` event in the stream; `drop`: the connection breaks; `garbage`: bytes that
   * are no protocol; `hang`: nothing more comes.
   */
  kind: z.enum(['status', 'error', 'drop', 'garbage', 'hang']),
  /** HTTP status of `status`; of `error`, the one whose type the event carries. */
  status: z.int().min(400).max(599).default(529),
  retryAfterSeconds: z.number().min(0).optional(),
  message: z.string().optional(),
  /** How many events of the answer come before the fault: 0 is after the headers, absent before them. */
  afterChunks: z.int().min(0).optional(),
  /** Only the first `times` requests of this step meet it. */
  times: z.int().min(1).default(1_000_000),
})
export type Fault = z.output<typeof faultSchema>

/** One answer of the model. */
const stepSchema = z.strictObject({
  /** This step answers whenever the last tool results match, wherever it stands; the others answer in order. */
  onResult: pattern.optional(),
  /** A pattern on the last tool results, or more; a request that fails it is refused, and the failure is kept. */
  expect: z.union([pattern, expectationSchema]).optional(),
  thinking: z.string().optional(),
  text: z.string().optional(),
  tools: z.array(z.strictObject({ name: z.string(), input: z.record(z.string(), z.unknown()) })).optional(),
  /** Content blocks that are sent as they stand, after the others. */
  blocks: z.array(z.looseObject({ type: z.string() })).optional(),
  stopReason: z.string().optional(),
  /** Tokens; what is absent is counted, about four characters each. */
  usage: usageSchema.optional(),
  headers: z.record(z.string(), z.string()).optional(),
  /** Before the first byte of the answer. */
  delayMs: z.int().min(0).max(600_000).optional(),
  /** Before each event of the stream but the first. */
  chunkDelayMs: z.int().min(0).max(60_000).optional(),
  fault: faultSchema.optional(),
})
export type Step = z.output<typeof stepSchema>

const conversationSchema = z.strictObject({
  /** On the prompt: a person's, or the one that an agent gives its sub-agent. */
  when: pattern,
  steps: z.array(stepSchema).min(1),
})
export type Conversation = z.output<typeof conversationSchema>

/**
 * What the model answers: for a prompt that matches `when`, the steps in order. Which one is due follows from the request
 * itself (the tool results since the prompt), so a request that is sent again gets the same one. README.md tells more.
 */
export const scriptSchema = z.strictObject({ name: z.string(), conversations: z.array(conversationSchema) })
export type Script = z.input<typeof scriptSchema>
export type ParsedScript = z.output<typeof scriptSchema>

/** Reads a script from a JSON file; throws with the path of what is wrong in it. */
export function loadScript(path: string | URL): ParsedScript {
  const parsed = scriptSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')))
  if (!parsed.success) throw new Error(`the script ${String(path)} is wrong:\n${z.prettifyError(parsed.error)}`)
  return parsed.data
}

function isRegExp(source: string): boolean {
  try {
    return Boolean(new RegExp(source))
  } catch {
    return false
  }
}
