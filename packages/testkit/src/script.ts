import { z } from 'zod'

/** One answer of the model. */
const stepSchema = z.strictObject({
  /** Regular expression that the last tool result must match; otherwise the request is refused and the failure is kept. */
  expect: z.string().optional(),
  thinking: z.string().optional(),
  text: z.string().optional(),
  tools: z.array(z.strictObject({ name: z.string(), input: z.record(z.string(), z.unknown()) })).optional(),
  /** Before the first byte of the answer. */
  delayMs: z.int().min(0).max(600_000).optional(),
  /** Instead of the answer, for the first `times` requests. */
  fault: z
    .strictObject({
      kind: z.enum(['status', 'drop', 'garbage', 'hang']),
      status: z.int().optional(),
      times: z.int().min(1).default(1_000_000),
    })
    .optional(),
})

/**
 * A script: for a prompt that matches `when` (regular expression), the answers in order. Which answer is due follows from
 * the request itself (the tool results since the prompt), so a retried request gets the same one.
 */
export const scriptSchema = z.strictObject({
  name: z.string(),
  conversations: z.array(z.strictObject({ when: z.string(), steps: z.array(stepSchema).min(1) })),
})
export type Script = z.input<typeof scriptSchema>
export type ParsedScript = z.output<typeof scriptSchema>
export type Step = z.output<typeof stepSchema>
