import type { HostMemory } from './host-memory.js'

/** Shares of the host's memory that are available, from 0 to 1. */
export interface ReclaimLimits {
  /** With less than this memory is short: that of frozen sandboxes is given back, one after the other. */
  shortBelow: number
  /** It is short until there is as much as this, so that what was given back isn't asked for at once again. */
  relievedAt: number
  /** With less than this, and nothing left to give back, frozen sessions are saved and their sandboxes freed. */
  parkBelow: number
}

const reliefShare = 0.05
const parkShare = 0.07

/** What follows from the share below which an operator wants memory given back; with 1 it is short at any time. */
export const reclaimLimits = (shortBelow: number): ReclaimLimits => ({
  shortBelow,
  relievedAt: Math.min(1, shortBelow + reliefShare),
  parkBelow: Math.min(parkShare, shortBelow / 2),
})

export interface FrozenSandbox {
  /** Milliseconds since 1970. */
  lastUsedMs: number
  /** Its memory was given back since it was frozen, as far as that went. */
  isReclaimed: boolean
  /** No run is in it that waits for a person: its session can be saved and do without it. */
  isIdle: boolean
}

export interface ReclaimStep<T> {
  /** Whether memory is short from now on. */
  isShort: boolean
  reclaim?: T
  park?: T
}

/**
 * The one thing to do next, after which the host's memory is read again: what a sandbox gives back is known only then. Those
 * that were used longest ago come first. What stands still for want of memory (PSI) is not looked at: giving memory back counts
 * as such itself.
 */
export function nextStep<T extends FrozenSandbox>(
  { totalBytes, availableBytes }: HostMemory,
  wasShort: boolean,
  frozen: readonly T[],
  limits: ReclaimLimits,
): ReclaimStep<T> {
  const share = availableBytes / totalBytes
  const isShort = share < (wasShort ? limits.relievedAt : limits.shortBelow)
  if (!isShort) return { isShort }
  const oldest = frozen.toSorted((a, b) => a.lastUsedMs - b.lastUsedMs)
  const reclaim = oldest.find(({ isReclaimed }) => !isReclaimed)
  if (reclaim) return { isShort, reclaim }
  const park = share < limits.parkBelow ? oldest.find(({ isIdle }) => isIdle) : undefined
  return park ? { isShort, park } : { isShort }
}
