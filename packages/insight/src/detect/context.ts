import type { Usage } from '@vm0/contract'
import type { Step } from '../record/run-record.js'
import { evidenceOf, nameOf, plural, type Detector } from './finding.js'
import type { Thresholds } from './thresholds.js'

const thousand = (tokens: number): string => `${Math.round(tokens / 1000).toLocaleString('en')}k`
const promptTokens = ({ inputTokens, cacheReadTokens, cacheWriteTokens }: Usage): number =>
  inputTokens + cacheReadTokens + cacheWriteTokens

/** Names of models with a larger window say so: `claude-sonnet-4-5[1m]`. */
function windowOf({ model }: Step, { contextWindowTokens }: Thresholds): number {
  return /\[1m\]/i.test(model) ? 1_000_000 : contextWindowTokens
}

const mainAgents = (steps: readonly Step[]): Step[] => steps.filter(({ parentToolId }) => parentToolId === undefined)

export const contextPressure: Detector = ({ steps }, limits) => {
  const full = mainAgents(steps).filter(
    (step) => promptTokens(step.usage) >= limits.contextFull * windowOf(step, limits),
  )
  const worst = full.toSorted((a, b) => promptTokens(b.usage) - promptTokens(a.usage))[0]
  if (!worst) return []
  const share = Math.round((promptTokens(worst.usage) / windowOf(worst, limits)) * 100)
  return [
    {
      kind: 'context.pressure',
      severity: 'warning',
      text: `the context was ${share}% full: ${thousand(promptTokens(worst.usage))} tokens in one request`,
      evidence: full
        .slice(0, 6)
        .map((step) => ({ text: `${thousand(promptTokens(step.usage))} tokens`, cursor: step.cursor })),
      adjust: {
        where: 'prompt',
        text: 'Split the task into runs of one session, and have sub-agents do the searching: "Use a sub-agent to find where … is; report only paths and line numbers."',
      },
    },
  ]
}

/** After a compaction the agent reads again what it had read before: the summary left it out. */
export const compactionLoss: Detector = ({ calls, compactions }, limits) =>
  compactions.flatMap(({ cursor, callsBefore, before, after }) => {
    const known = new Set(
      calls.slice(0, callsBefore).flatMap(({ kind, path }) => (kind === 'read' && path ? [path] : [])),
    )
    const reads = calls
      .slice(callsBefore, callsBefore + limits.compactionCalls)
      .filter(({ kind, path }) => kind === 'read' && path !== undefined)
    const again = reads.filter(({ path }) => known.has(path as string))
    if (again.length < 2 || again.length < limits.compactionLoss * reads.length) return []
    const size =
      before !== undefined && after !== undefined ? ` (${thousand(before)} to ${thousand(after)} tokens)` : ''
    const files = [...new Set(again.map(({ path }) => path as string))].slice(0, 3)
    return [
      {
        kind: 'context.compaction_loss',
        severity: 'warning' as const,
        text: `a compaction${size} dropped what was needed: ${again.length} of ${plural(reads.length, 'read')} after it had been done before`,
        evidence: [{ text: 'the compaction', cursor }, ...evidenceOf(again)],
        adjust: {
          where: 'CLAUDE.md' as const,
          text: `- Facts that outlive a compaction: <what ${files.join(', ')} say that matters>`,
        },
      },
    ]
  })

const floods = new Set(['shell', 'mcp', 'fetch', 'search', 'other'])

export const outputFlood: Detector = ({ calls }, limits) => {
  const large = calls.filter(
    (call) => floods.has(call.kind) && (call.outputChars >= limits.floodChars || call.truncated),
  )
  const worst = large.toSorted((a, b) => b.outputChars - a.outputChars)[0]
  if (!worst) return []
  return [
    {
      kind: 'output.flood',
      severity: 'warning',
      text: `${plural(large.length, 'result')} flooded the context, the largest with ${plural(worst.outputChars, 'character')}: ${nameOf(worst)}`,
      evidence: evidenceOf(large),
      adjust: {
        where: 'CLAUDE.md',
        text: `- ${nameOf(worst)} prints too much: send it to a file and look at the end (\`… > /tmp/out.log 2>&1; tail -n 50 /tmp/out.log\`), or use its quiet option.`,
      },
    },
  ]
}

export const cacheMisses: Detector = ({ steps }, limits) => {
  const main = mainAgents(steps)
  const later = main.slice(1).filter(({ usage }) => promptTokens(usage) >= limits.cachedPromptTokens)
  if (later.length < limits.cacheRequests) return []
  const asked = later.reduce((sum, { usage }) => sum + promptTokens(usage), 0)
  const cached = later.reduce((sum, { usage }) => sum + usage.cacheReadTokens, 0)
  if (cached >= limits.cacheHitRate * asked) return []
  const worst = later.toSorted(
    (a, b) => a.usage.cacheReadTokens / promptTokens(a.usage) - b.usage.cacheReadTokens / promptTokens(b.usage),
  )
  return [
    {
      kind: 'cache.miss',
      severity: 'warning',
      text: `only ${Math.round((cached / asked) * 100)}% of the input came from the cache in ${plural(later.length, 'request')} after the first`,
      evidence: worst.slice(0, 6).map(({ cursor, usage }) => ({
        text: `${thousand(usage.cacheReadTokens)} of ${thousand(promptTokens(usage))} tokens from the cache`,
        cursor,
      })),
      adjust: {
        where: 'prompt',
        text: 'Keep what comes first in a conversation the same: no dates, ids or changing lists in systemPrompt and CLAUDE.md, no change of model or tools within a session, no pause of more than five minutes between prompts.',
      },
    },
  ]
}

export const costSpikes: Detector = ({ steps }, limits) => {
  if (steps.length < limits.costSpikeRequests) return []
  const costs = steps.map(({ costUsd }) => costUsd).toSorted((a, b) => a - b)
  const median = costs[Math.floor(costs.length / 2)] as number
  const spikes = steps.filter(
    ({ costUsd }) => costUsd >= limits.costSpikeUsd && costUsd >= limits.costSpikeFactor * median,
  )
  if (spikes.length === 0) return []
  const highest = Math.max(...spikes.map(({ costUsd }) => costUsd))
  return [
    {
      kind: 'cost.spike',
      severity: 'warning',
      text: `${plural(spikes.length, 'request')} cost up to $${highest.toFixed(2)}, where half of them cost less than $${median.toFixed(2)}`,
      evidence: spikes.slice(0, 6).map(({ cursor, costUsd, usage }) => ({
        text: `$${costUsd.toFixed(2)} for ${thousand(promptTokens(usage))} tokens in, ${thousand(usage.outputTokens)} out`,
        cursor,
      })),
      adjust: {
        where: 'limits',
        text: 'limits: { turns: <fewer> }, a smaller model for searching, or smaller tasks in a session each',
      },
    },
  ]
}

export const retryStorm: Detector = ({ retries, refusals }, limits) => {
  // The gateway sees each attempt; an agent tells only of some.
  const failed = refusals.length >= retries.length ? refusals : retries
  const within = failed.filter(
    ({ atMs }, index) => (failed[index + limits.retries - 1]?.atMs ?? Infinity) - atMs <= limits.retryWindowMs,
  )
  if (within.length === 0) return []
  const statuses = [...new Set(failed.map(({ status }) => status ?? 'no status'))].join(', ')
  return [
    {
      kind: 'api.retry_storm',
      severity: 'warning',
      text: `the model refused ${plural(failed.length, 'request')} (${statuses})`,
      evidence: failed.slice(0, 6).map(({ cursor, status }) => ({ text: `status ${status ?? 'unknown'}`, cursor })),
      adjust: {
        where: 'model',
        text: 'Run fewer agents at once, raise the rate limit with the provider, or name another model for these runs.',
      },
    },
  ]
}
