const firstPauseMs = 1_000
const growth = 3
const longestPauseMs = 3_600_000
/** A receiver that is away for less than this misses nothing. */
export const giveUpAfterMs = 24 * 3_600_000

export interface Tried {
  /** From 1: how often it was tried. */
  attempts: number
  ageMs: number
}

/**
 * How long to wait before the next attempt: one second, then three times as long each time, up to an hour, of which a random
 * part is left out so that what failed at once does not come back at once. Undefined: it is given up.
 */
export function pauseBefore({ attempts, ageMs }: Tried, random: number): number | undefined {
  const whole = Math.min(longestPauseMs, firstPauseMs * growth ** (Math.min(attempts, 20) - 1))
  const pauseMs = Math.round(whole * (0.5 + random / 2))
  return ageMs + pauseMs > giveUpAfterMs ? undefined : pauseMs
}
