import type { Thresholds as GivenThresholds } from '@vm0/contract'

/**
 * From where on something is worth telling. Where a number was measured by others, it is theirs: loops by OpenHands and
 * stella, repeated failures and edits by agentsview, the cache by Maple. The rest is set so that recorded healthy runs give
 * no finding.
 */
export const defaultThresholds = {
  /** The same call with the same result, one after the other. */
  exactRepeats: 3,
  /** A pattern of two to four calls, with the same results each time. */
  cycleRepeats: 3,
  /** Calls of one tool that all give the same, whatever they ask. */
  stagnantCalls: 6,
  /** The same failing command with no edit between. */
  failingRepeats: 3,
  /** Calls that come further apart than this wait for something. */
  pollGapMs: 20_000,
  /** Edits of one file within so many calls, one of which takes an earlier one back. */
  thrashEdits: 3,
  thrashCalls: 10,
  /** The same part of a file, unchanged since. */
  rereads: 4,
  /** Files that were asked for and are not there. */
  absentFiles: 3,
  denials: 2,
  /** A test run that takes longer holds up the agent. */
  testRunMs: 120_000,
  /** Characters of one result that go into the context; about a quarter as many tokens. */
  floodChars: 25_000,
  contextWindowTokens: 200_000,
  /** Share of the window. */
  contextFull: 0.9,
  /** Share of the reads after a compaction that had been done before it, among so many calls. */
  compactionLoss: 0.5,
  compactionCalls: 20,
  /** Share of the input that comes from the cache, after the first request, of prompts that are worth caching. */
  cacheHitRate: 0.5,
  cachedPromptTokens: 4_096,
  cacheRequests: 3,
  /** One request against the median of the run. */
  costSpikeFactor: 5,
  costSpikeUsd: 0.5,
  costSpikeRequests: 8,
  /** Requests that the model refused, within so long. */
  retries: 3,
  retryWindowMs: 60_000,
} as const satisfies Required<GivenThresholds>

export type Thresholds = { readonly [Name in keyof typeof defaultThresholds]: number }
