import type { Timings } from '@vm0/contract'
import { median } from './statistics.js'

type Stage = Exclude<keyof Timings, 'pool'>

/** In the order in which a run comes to them; milliseconds since the server has received it. */
const stages: readonly [Stage, string][] = [
  ['authorisedMs', "the caller's key is looked at"],
  ['queuedMs', 'a runner has taken it'],
  ['boundMs', 'its sandbox is there, with its files'],
  ['sandboxReadyMs', 'its agent process is there'],
  ['promptSentMs', 'the prompt is written'],
  ['agentReadyMs', "the agent's first word"],
  ['firstModelRequestMs', 'its first model request is at the gateway'],
  ['firstTokenMs', 'the first token of the answer'],
]

export interface TimedRun {
  /** From the call to the request at the endpoint, by the client's clock. */
  ms: number
  timings: Timings
}

/** The run in the middle of these, stage by stage, as a Markdown table. */
export function waterfallOfMedian(runs: readonly TimedRun[]): string {
  const middle = median(runs.map(({ ms }) => ms))
  const run = runs.find(({ ms }) => ms === middle)
  if (!run) return ''
  return table(({ [0]: stage }) => run.timings[stage], `${run.ms.toFixed(1)} ms from the call to the endpoint`)
}

/** Each stage's p50 over all runs, as a Markdown table. */
export function stagesOf(runs: readonly TimedRun[]): string {
  const of = (stage: Stage): number | null => {
    const known = runs.map(({ timings }) => timings[stage]).filter((ms) => ms !== null)
    return known.length > 0 ? median(known) : null
  }
  return table(({ [0]: stage }) => of(stage), `p50 of ${runs.length}`)
}

function table(at: (entry: readonly [Stage, string]) => number | null, what: string): string {
  const known = stages.flatMap((entry) => {
    const ms = at(entry)
    return ms === null ? [] : [{ name: entry[1], ms }]
  })
  const sorted = known.toSorted((a, b) => a.ms - b.ms)
  const lines = sorted.map(
    ({ name, ms }, index) => `| ${name} | ${ms.toFixed(1)} | ${(ms - (sorted[index - 1]?.ms ?? 0)).toFixed(1)} |`,
  )
  return [`| ${what} | at, ms | took |`, '|---|---|---|', ...lines].join('\n')
}
