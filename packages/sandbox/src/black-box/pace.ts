export interface Observed {
  /** Of one CPU, since the last look. */
  cpuShare: number
  /** Of the limit. */
  memoryShare: number
  /** Bytes per millisecond. */
  growth: number
  leftBytes: number
  /** Its memory is held at the limit, or something was just ended for it. */
  held: boolean
}

const idleMs = 1_000
const busyMs = 250
const pressedMs = 50
const heldMs = 20
const busyShare = 0.02
/** From here on memory is short. */
const pressedShare = 0.85
/** Memory that would be used up within this time. */
const soonMs = 1_000

/** How long until a sandbox is looked at again. */
export function pauseMs({ cpuShare, memoryShare, growth, leftBytes, held }: Observed): number {
  if (held) return heldMs
  if (memoryShare > pressedShare || (growth > 0 && leftBytes / growth < soonMs)) return pressedMs
  return cpuShare > busyShare ? busyMs : idleMs
}
