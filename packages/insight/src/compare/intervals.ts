import type { Estimate } from '@vm0/contract'

/** Of the normal distribution, for 95% in the middle. */
const z = 1.959964
const resamples = 1_000

/** A share with its 95% interval (Wilson's, which holds for few and for extreme shares too). */
export function shareOf(successes: number, total: number): Estimate {
  if (total === 0) return { value: null, low: null, high: null, n: 0 }
  const share = successes / total
  const base = 1 + z ** 2 / total
  const middle = (share + z ** 2 / (2 * total)) / base
  const half = (z / base) * Math.sqrt((share * (1 - share)) / total + z ** 2 / (4 * total ** 2))
  return {
    value: share,
    low: Math.min(share, Math.max(0, middle - half)),
    high: Math.max(share, Math.min(1, middle + half)),
    n: total,
  }
}

/** A mean with its 95% interval by bootstrap. The same values give the same interval. */
export function meanOf(values: readonly number[]): Estimate {
  const n = values.length
  if (n === 0) return { value: null, low: null, high: null, n }
  const value = mean(values)
  if (n === 1) return { value, low: null, high: null, n }
  const random = randomOf(n)
  const means = Array.from({ length: resamples }, () => resampledMean(values, random))
  return { value, ...middleOf(means, value), n }
}

/** How much `to` is above `from`, with the 95% interval of the difference by bootstrap. */
export function meanDifference(from: readonly number[], to: readonly number[]): Estimate {
  const n = Math.min(from.length, to.length)
  if (n === 0) return { value: null, low: null, high: null, n }
  const value = mean(to) - mean(from)
  if (n === 1) return { value, low: null, high: null, n }
  const random = randomOf(from.length * 31 + to.length)
  const differences = Array.from({ length: resamples }, () => resampledMean(to, random) - resampledMean(from, random))
  return { value, ...middleOf(differences, value), n }
}

/** The same for two shares: Newcombe's interval, of Wilson's two. */
export function shareDifference(from: { successes: number; total: number }, to: typeof from): Estimate {
  const [a, b] = [shareOf(from.successes, from.total), shareOf(to.successes, to.total)]
  const n = Math.min(a.n, b.n)
  if (a.value === null || b.value === null) return { value: null, low: null, high: null, n }
  const [p, q] = [b.value, a.value]
  const below = Math.hypot(p - (b.low as number), (a.high as number) - q)
  const above = Math.hypot((b.high as number) - p, q - (a.low as number))
  return { value: p - q, low: p - q - below, high: p - q + above, n }
}

/** The value below which the share `q` of them lies; null of none. */
export function quantile(values: readonly number[], q: number): number | null {
  if (values.length === 0) return null
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const below = sorted[Math.floor(at)] as number
  return below + ((sorted[Math.ceil(at)] as number) - below) * (at - Math.floor(at))
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

function middleOf(means: number[], value: number): { low: number; high: number } {
  return {
    low: Math.min(value, quantile(means, 0.025) as number),
    high: Math.max(value, quantile(means, 0.975) as number),
  }
}

function resampledMean(values: readonly number[], random: () => number): number {
  let sum = 0
  for (let each = 0; each < values.length; each += 1) sum += values[Math.floor(random() * values.length)] as number
  return sum / values.length
}

/** Mulberry32: what is told of the same runs must be the same each time. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
