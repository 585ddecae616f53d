import type { Timings } from '@vm0/contract/client'

/** One case of the bench: what was measured of each of its runs, in milliseconds, by stage. */
export type Samples = Map<string, number[]>

/** What is shown of a run, in the order of its way. */
const stages = [
  ['placed on a runner', 'queuedMs'],
  ['sandbox and files there', 'boundMs'],
  ['prompt written', 'promptSentMs'],
  ['first model request', 'firstModelRequestMs'],
  ['first token', 'firstTokenMs'],
] as const satisfies readonly (readonly [string, keyof Timings])[]

/** Adds a run's stages, as the server's clock has them, and what passed here until its first token was seen. */
export function addRun(samples: Samples, timings: Timings, seenMs: number | undefined): void {
  for (const [name, key] of stages) add(samples, name, timings[key])
  add(samples, 'first token seen here', seenMs)
}

function add(samples: Samples, name: string, value: number | null | undefined): void {
  if (typeof value === 'number') samples.set(name, [...(samples.get(name) ?? []), value])
}

export interface StageFigures {
  stage: string
  p50Ms: number
  p95Ms: number
  p99Ms: number
  samples: number
}

export function figuresOf(samples: Samples): StageFigures[] {
  return [...samples].map(([stage, values]) => ({
    stage,
    p50Ms: percentile(values, 0.5),
    p95Ms: percentile(values, 0.95),
    p99Ms: percentile(values, 0.99),
    samples: values.length,
  }))
}

/** The value below which a share of the samples lies (nearest rank). */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN
}

/** A table for a terminal. */
export function figureLines(title: string, figures: readonly StageFigures[]): string[] {
  const cell = (value: number): string => value.toFixed(0).padStart(8)
  return [
    `${title.padEnd(44)}     p50     p95     p99  ms`,
    ...figures.map(
      ({ stage, p50Ms, p95Ms, p99Ms }) => `  ${stage.padEnd(40)}${cell(p50Ms)}${cell(p95Ms)}${cell(p99Ms)}`,
    ),
  ]
}
