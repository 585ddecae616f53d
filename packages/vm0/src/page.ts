import type { RunState } from '@vm0/contract/client'

/**
 * A page of a list, the newest first.
 *
 * @example
 * const { items, next } = await vm0.sessions.list({ limit: 20 })
 */
export interface Page<T> {
  items: T[]
  /** What `before` takes to get the next page; null at the end. */
  next: string | null
}

/**
 * Which part of a list.
 *
 * @example
 * const runs = await vm0.runs.list({ limit: 20, sessionId: session.id })
 */
export interface PageOptions {
  /** 1 to 200; default 50. */
  limit?: number
  /** `next` of the page before. */
  before?: string
  /** Only runs of this session. */
  sessionId?: string
}

/**
 * Which runs of a list.
 *
 * @example
 * const died = await vm0.runs.list({ state: 'died', reason: 'out_of_memory', since: new Date(Date.now() - 86_400_000) })
 */
export interface RunListOptions extends PageOptions {
  /** Only those in this state, or with this outcome. */
  state?: RunState
  /** Only those that ended for this reason, such as `out_of_memory`. */
  reason?: string
  /** Only those that were asked for at this time or later. */
  since?: Date | string
  /** Only those with this label: `name=value`. */
  label?: string
}

/** @internal */
export function query(options: object): string {
  const entries = Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]): [string, string] => [name, value instanceof Date ? value.toISOString() : String(value)])
  return entries.length > 0 ? `?${new URLSearchParams(entries)}` : ''
}
