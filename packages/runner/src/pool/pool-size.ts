/** What the pool's size follows from. */
export interface Demand {
  /** Times (milliseconds) at which warm sandboxes were asked for, the oldest first. */
  arrivalsMs: readonly number[]
  nowMs: number
  /** How long it takes to make one. */
  refillMs: number
}

export interface PoolLimits {
  /** Kept even when nobody asks; 0 lets the pool shrink to nothing. */
  min: number
  max: number
  /** Share of requests that may find the pool empty. */
  missShare: number
  /** Arrivals older than this don't count. */
  windowMs: number
}

export const defaultPoolLimits: PoolLimits = { min: 1, max: 4, missShare: 0.01, windowMs: 60_000 }

/**
 * The least number of warm sandboxes with which, at the recent rate of arrival, at most `missShare` of the requests find
 * none: arrivals while one refill is under way are taken as Poisson. A burst counts by its peak, not by its average.
 */
export function poolSize(
  { arrivalsMs, nowMs, refillMs }: Demand,
  { min, max, missShare, windowMs }: PoolLimits,
): number {
  const recent = arrivalsMs.filter((at) => at > nowMs - windowMs && at <= nowMs)
  if (recent.length === 0) return Math.min(min, max)
  const span = Math.max(refillMs, nowMs - (recent[0] as number))
  const expected = Math.max((recent.length / span) * refillMs, peak(recent, refillMs) / 2)
  let probability = Math.exp(-expected)
  let atMost = probability
  let size = 0
  while (1 - atMost > missShare && size < max) {
    size += 1
    probability *= expected / size
    atMost += probability
  }
  return Math.min(max, Math.max(min, size))
}

/** What is asked for of one kind. `learned`: the platform was not told to keep it, it has seen that it is asked for. */
export interface KindDemand extends Demand {
  learned: boolean
}

/** A kind that was asked for so often within `learnMs` is kept, one of it at least, until nobody asks for so long. */
const learnArrivals = 2
export const learnMs = 10 * 60_000

/**
 * How many of each kind are kept, in all `max` at most. What the platform was told to keep comes first, then one of each
 * learned kind, the one that was asked for last before others, then what each is short of.
 */
export function poolSizes(kinds: readonly KindDemand[], limits: PoolLimits): number[] {
  const wanted = kinds.map(({ learned, ...demand }) => {
    if (!learned) return poolSize(demand, limits)
    const recent = demand.arrivalsMs.filter((at) => at > demand.nowMs - learnMs && at <= demand.nowMs)
    return recent.length < learnArrivals ? 0 : poolSize(demand, { ...limits, min: 1 })
  })
  const lastAsked = (index: number): number => kinds[index]?.arrivalsMs.at(-1) ?? -Infinity
  const order = kinds
    .map((_, index) => index)
    .toSorted((a, b) => Number(kinds[a]!.learned) - Number(kinds[b]!.learned) || lastAsked(b) - lastAsked(a))
  const sizes = kinds.map(() => 0)
  let left = limits.max
  const give = (index: number, upTo: number): void => {
    const more = Math.min(left, Math.min(upTo, wanted[index]!) - sizes[index]!)
    if (more <= 0) return
    sizes[index]! += more
    left -= more
  }
  for (const index of order) give(index, kinds[index]!.learned ? 1 : limits.min)
  for (let level = 1; left > 0 && level <= limits.max; level++) for (const index of order) give(index, level)
  return sizes
}

/** The most arrivals within any span of `spanMs`. */
function peak(arrivalsMs: readonly number[], spanMs: number): number {
  let most = 0
  let first = 0
  for (let last = 0; last < arrivalsMs.length; last++) {
    while ((arrivalsMs[last] as number) - (arrivalsMs[first] as number) > spanMs) first += 1
    most = Math.max(most, last - first + 1)
  }
  return most
}
