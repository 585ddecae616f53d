import type { CreateRunParsed } from '@vm0/contract'

export type MemoryPolicy = NonNullable<CreateRunParsed['onOutOfMemory']>

export type MemoryDecision = { what: 'stop_process' | 'stop_run' } | { what: 'raise'; limitBytes: number }

export interface MemoryCase {
  policy: MemoryPolicy
  /** Nothing but the agent itself can be ended. */
  isAgent: boolean
  /** How often something was ended in this run for its memory. */
  stops: number
  limitBytes: number
  /** What the sandbox was asked to have at first. */
  firstLimitBytes: number
  usedBytes: number
  hostTotalBytes: number
  hostAvailableBytes: number
}

/** An agent that goes on starting what uses the memory up doesn't listen. */
const maxStops = 10
const maxFactor = 8
/** Of what the host has left, others need some. */
const availableShare = 0.8

/** What becomes of a sandbox that has used up its memory. */
export function decideMemory(all: MemoryCase): MemoryDecision {
  if (all.policy === 'stop') return { what: 'stop_run' }
  const limitBytes = all.policy === 'double' ? doubled(all) : undefined
  if (limitBytes !== undefined) return { what: 'raise', limitBytes }
  return { what: all.isAgent || all.stops >= maxStops ? 'stop_run' : 'stop_process' }
}

/** Undefined where it has had eight times its memory already, or the host has not so much. */
function doubled(all: MemoryCase): number | undefined {
  const limitBytes = all.limitBytes * 2
  if (limitBytes > all.firstLimitBytes * maxFactor || limitBytes > all.hostTotalBytes) return undefined
  return limitBytes - all.usedBytes <= all.hostAvailableBytes * availableShare ? limitBytes : undefined
}
