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

/** @internal */
export function query(options: PageOptions): string {
  const entries = Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]): [string, string] => [name, String(value)])
  return entries.length > 0 ? `?${new URLSearchParams(entries)}` : ''
}
