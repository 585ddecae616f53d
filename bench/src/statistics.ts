/** The value below which a share of the samples lies (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5)

/** A Markdown row: name, p50, p95, p99, least, most, number of samples. */
export function row(name: string, samples: readonly number[], digits = 0): string {
  const figures = [0.5, 0.95, 0.99, 0, 1].map((share) => percentile(samples, share).toFixed(digits))
  return `| ${name} | ${figures.join(' | ')} | ${samples.length} |`
}

export const tableHead = '| ms | p50 | p95 | p99 | min | max | n |\n|---|---|---|---|---|---|---|'
