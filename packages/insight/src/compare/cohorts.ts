import type { Cohort, CohortKey } from '@vm0/contract'
import type { RunDigest } from './digest.js'
import { meanDifference, meanOf, quantile, shareDifference, shareOf } from './intervals.js'

/** From so many runs on a cohort is told without a warning. */
export const enoughRuns = 10
const maxCohorts = 50

/** Runs by what they have in common, the largest cohort first; each with what it does better or worse than the largest. */
export function cohortsOf(digests: readonly RunDigest[], by: CohortKey): Cohort[] {
  const groups = new Map<string, RunDigest[]>()
  for (const digest of digests) {
    const value = valueOf(digest, by)
    const group = groups.get(value) ?? []
    group.push(digest)
    groups.set(value, group)
  }
  const sorted = [...groups].toSorted(([a, x], [b, y]) => y.length - x.length || (a < b ? -1 : 1)).slice(0, maxCohorts)
  const [first] = sorted
  return sorted.map(([value, group]) => cohortOf(value, group, group === first?.[1] ? undefined : first?.[1]))
}

/** Runs that have no such label are a cohort of their own, of the value ''. */
function valueOf({ labels, template, release, model }: RunDigest, by: CohortKey): string {
  if (by === 'template') return template
  if (by === 'release') return release
  if (by === 'model') return model
  return labels[by.slice('label:'.length)] ?? ''
}

function cohortOf(value: string, runs: readonly RunDigest[], base: readonly RunDigest[] | undefined): Cohort {
  const of = (read: (run: RunDigest) => number) => runs.map(read)
  const durations = of(({ durationMs }) => durationMs)
  const succeeded = count(runs, 'succeeded')
  return {
    value,
    runs: runs.length,
    enough: runs.length >= enoughRuns,
    success: shareOf(succeeded, runs.length),
    died: shareOf(count(runs, 'died'), runs.length),
    reasons: tally(
      runs.filter(({ outcome }) => outcome !== 'succeeded').map(({ outcome, reason }) => reason ?? outcome),
    ),
    durationMs: { ...meanOf(durations), median: quantile(durations, 0.5), p95: quantile(durations, 0.95) },
    costUsd: meanOf(of(({ costUsd }) => costUsd)),
    tokens: meanOf(of(({ tokens }) => tokens)),
    toolCalls: meanOf(of(({ toolCalls }) => toolCalls)),
    toolFailures: meanOf(of(({ toolFailures }) => toolFailures)),
    findings: findingsIn(runs),
    difference: base
      ? {
          success: shareDifference(
            { successes: count(base, 'succeeded'), total: base.length },
            { successes: succeeded, total: runs.length },
          ),
          durationMs: meanDifference(
            base.map(({ durationMs }) => durationMs),
            durations,
          ),
          costUsd: meanDifference(
            base.map(({ costUsd }) => costUsd),
            of(({ costUsd }) => costUsd),
          ),
        }
      : null,
  }
}

const count = (runs: readonly RunDigest[], outcome: string): number =>
  runs.filter((run) => run.outcome === outcome).length

function tally(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1
  return counts
}

/** Each kind of finding with the share of runs that have it, the most frequent first. */
function findingsIn(runs: readonly RunDigest[]): Cohort['findings'] {
  const kinds = new Set(runs.flatMap(({ findings }) => Object.keys(findings)))
  return [...kinds]
    .map((kind) => {
      const having = runs.filter(({ findings }) => (findings[kind] ?? 0) > 0).length
      return { kind, runs: having, share: shareOf(having, runs.length) }
    })
    .toSorted((a, b) => b.runs - a.runs || (a.kind < b.kind ? -1 : 1))
}
