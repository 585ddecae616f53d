/** What the two clocks may differ by before the one is taken to have been set. */
const slackMs = 2

let originMs = performance.timeOrigin

/** Milliseconds since 1970 with fractions; follows the host's clock when that is set, which `performance.timeOrigin` doesn't. */
export function wallClockMs(): number {
  const steady = performance.now()
  const wall = Date.now()
  if (Math.abs(wall - (originMs + steady)) > slackMs) originMs = wall - steady
  return originMs + steady
}
