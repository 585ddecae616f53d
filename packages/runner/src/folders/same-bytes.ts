const [leastStep, mostStep] = [64, 64 * 1024]

/** How many bytes are the same in both, from a place in each on. */
export function sameBytes(a: Buffer, aStart: number, b: Buffer, bStart: number): number {
  const most = Math.min(a.length - aStart, b.length - bStart)
  let same = 0
  const extend = (step: number): boolean => {
    const next = Math.min(most, same + step)
    if (a.compare(b, bStart + same, bStart + next, aStart + same, aStart + next) !== 0) return false
    same = next
    return true
  }
  let step = leastStep
  while (same < most && extend(step)) step = Math.min(mostStep, 2 * step)
  // The first that differs is among the next `step`.
  while (same < most && step > 1) {
    step = Math.ceil(step / 2)
    extend(step)
  }
  return same
}
