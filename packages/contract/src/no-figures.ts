import type { Timings, Usage } from './runs.js'

/** Of a run that has used nothing yet, and reached no stage. */
export const noUsage: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 }
export const noTimings: Timings = {
  authorisedMs: null,
  queuedMs: null,
  boundMs: null,
  sandboxReadyMs: null,
  promptSentMs: null,
  agentReadyMs: null,
  firstModelRequestMs: null,
  firstTokenMs: null,
  agentFinishedMs: null,
  totalMs: null,
  pool: null,
}
